"""The baseline: n-grams of ids with interpolated modified Kneser-Ney smoothing, counted exactly.

P(w | h) = (c(hw) - D(c(hw))) / c(h) + gamma(h) P(w | h without its first id), where c are plain counts in the longest
contexts and numbers of different ids before hw in shorter ones, D(1), D(2), D(3 and more) come from the counts of counts,
and gamma(h) is what the discounts leave (Chen and Goodman 1998, section 3 and 3.1). Below the single ids all are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Rows of whole distributions that are made at once.
ROWS = 2048
# The least that is taken of a count, and that is left of it.
LEAST_TAKEN = 0.05


@dataclass(frozen=True, eq=False)
class _Level:
    """Contexts of one length. A context is known by its number, grams by context * base + id."""

    # Rising keys of the contexts: number of the context one shorter * base + the id before it.
    contexts: np.ndarray
    # Rising keys of the grams (g,), and what remains of each one's count over the context's, float64.
    grams: np.ndarray
    shares: np.ndarray
    # (contexts,): what the discounts leave to the shorter context.
    left: np.ndarray


class NgramModel:
    """Counts of a training set, asked like any other model of ids."""

    def __init__(self, documents: Sequence[np.ndarray], vocabulary: int, order: int):
        """documents: each (n,) ids in 0..vocabulary - 1, the first given; order: ids of a gram, 1 or more."""
        if order < 1:
            raise ValueError(f"the order of n-grams must be 1 or more, not {order}")
        self.vocabulary, self.order = vocabulary, order
        # Ids and one more, which stands before the beginning.
        self._base = vocabulary + 1
        columns, words = self._windows(documents)
        self._levels = self._count(columns, words)

    def _windows(self, documents: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Of every id but the first of each document: the ids 1, 2, ... order - 1 places before it; and the ids."""
        padding = np.full(max(0, self.order - 2), self.vocabulary, dtype=np.int64)
        rows = [np.concatenate([padding, np.asarray(ids, dtype=np.int64)]) for ids in documents]
        row = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        lengths = np.array([len(one) for one in rows], dtype=np.int64)
        asked = np.ones(len(row), dtype=bool)
        starts = np.cumsum(lengths) - lengths
        for place in range(len(padding) + 1):
            asked[(starts + place)[lengths > place]] = False
        places = np.flatnonzero(asked)
        return [row[places - back] for back in range(1, self.order)], row[places]

    def _count(self, columns: list[np.ndarray], words: np.ndarray) -> list[_Level]:
        contexts, numbers = [np.zeros(1, dtype=np.int64)], [np.zeros(len(words), dtype=np.int64)]
        for column in columns:
            keys, number = np.unique(numbers[-1] * self._base + column, return_inverse=True)
            contexts.append(keys)
            numbers.append(number.astype(np.int64))
        levels: list[_Level] = []
        longer: tuple[np.ndarray, np.ndarray] | None = None
        for length in reversed(range(self.order)):
            keys, first, which, counts = np.unique(
                numbers[length] * self._base + words, return_index=True, return_inverse=True, return_counts=True
            )
            if longer is not None:
                # How many different ids stand before each gram: one for each longer gram that ends with it.
                counts = np.bincount(which[longer[1]], minlength=len(keys))
            levels.append(self._level(contexts[length], keys, counts))
            longer = (keys, first)
        return levels[::-1]

    def _level(self, contexts: np.ndarray, grams: np.ndarray, counts: np.ndarray) -> _Level:
        taken = discounts(counts)[np.minimum(counts, 3)]
        owner = grams // self._base
        total = np.bincount(owner, counts, len(contexts))
        return _Level(
            contexts, grams, (counts - taken) / total[owner], np.bincount(owner, taken, len(contexts)) / total
        )

    def probabilities(self, ids: np.ndarray) -> np.ndarray:
        """(n - 1,) float64: of every id but the first, given those before it; ids (n,)."""
        columns, words = self._windows([ids])
        found = np.full(len(words), 1 / self.vocabulary)
        for level, known, number in self._known(columns, len(words)):
            place, there = _find(level.grams, number[known] * self._base + words[known])
            found[known] = np.where(there, level.shares[place], 0.0) + level.left[number[known]] * found[known]
        return found

    def distributions(self, ids: np.ndarray) -> np.ndarray:
        """(n - 1, V) float64: of what may stand in the place of every id but the first."""
        columns, words = self._windows([ids])
        return self._distributions(columns, len(words))

    def following(self, contexts: np.ndarray) -> np.ndarray:
        """(B, V) float64: what may follow rows (B, T) of ids, T >= order - 1 or all that there is."""
        rows, length = contexts.shape
        columns = [
            contexts[:, length - back] if back <= length else np.full(rows, self.vocabulary)
            for back in range(1, self.order)
        ]
        return self._distributions(columns, rows)

    def _distributions(self, columns: list[np.ndarray], count: int) -> np.ndarray:
        found = np.full((count, self.vocabulary), 1 / self.vocabulary)
        for level, known, number in self._known(columns, count):
            own = number[known]
            found[known] *= level.left[own][:, None]
            first = np.searchsorted(level.grams, own * self._base)
            many = np.searchsorted(level.grams, (own + 1) * self._base) - first
            rows = np.repeat(known, many)
            places = np.repeat(first - np.cumsum(many) + many, many) + np.arange(len(rows))
            found[rows, level.grams[places] % self._base] += level.shares[places]
        return found

    def _known(self, columns: list[np.ndarray], count: int):
        """Each level with the places whose context it knows, and the number of the context at every place."""
        number, known = np.zeros(count, dtype=np.int64), np.arange(count)
        yield self._levels[0], known, number
        for level, column in zip(self._levels[1:], columns, strict=True):
            place, there = _find(level.contexts, number[known] * self._base + column[known])
            known, number = known[there], number.copy()
            number[known] = place[there]
            yield level, known, number


def discounts(counts: np.ndarray) -> np.ndarray:
    """(4,): what is taken of counts of 0, 1, 2, and 3 or more, by Chen and Goodman's estimate.

    Kept within bounds where counts of counts are too few to tell: something is always left to shorter contexts.
    """
    number = [int((counts == count).sum()) for count in range(5)]
    base = number[1] / (number[1] + 2 * number[2]) if number[1] else 0.5
    taken = [n - (n + 1) * base * number[n + 1] / number[n] if number[n] else n * base / 2 for n in (1, 2, 3)]
    return np.concatenate([[0.0], np.clip(taken, LEAST_TAKEN, np.array([1, 2, 3]) - LEAST_TAKEN)])


def _find(keys: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each asked key stands among rising keys, and whether it does."""
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return place, keys[place] == asked
