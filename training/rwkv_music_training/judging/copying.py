"""How much of a piece stands in other pieces already: the longest stretch of symbols, found by hashing.

A symbol is a character of a tune, or the step from one note to the next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Symbols = NDArray[np.uint16]
# A stretch is found by its first so many symbols, then extended; shorter ones only where no longer one is found.
SEEDS = (48, 24, 12, 6, 3, 1)
# Extension is tried in halving steps from here, so a stretch beyond twice this plus a seed is told as shorter.
LARGEST_STEP = 4096
# No text holds these: they keep a stretch from running over the end of a text. Symbols are 2 .. MOST_SYMBOLS - 1.
KNOWN_END, ASKED_END = 0, 1
FIRST_SYMBOL, MOST_SYMBOLS = 2, 1 << 16


@dataclass(frozen=True)
class Copied:
    """The longest stretch of one text that stands in a known one."""

    # Symbols of the stretch, and of the whole text.
    length: int
    whole: int
    # Where the stretch begins in the text, and the number of the known text that holds it (-1: nothing is shared).
    start: int
    source: int

    @property
    def share(self) -> float:
        """The stretch as a share of the text, 0..1."""
        return self.length / self.whole if self.whole else 0.0


class _Hashed:
    """Rows of symbols behind each other, with hashes of any stretch in constant time.

    The hash of symbols c_0..c_{n-1} is the sum of random(c_i) * base^i modulo 2^64; base is odd, so it has an inverse.
    """

    def __init__(self, texts: Sequence[Symbols], end: int):
        lengths = np.array([len(text) + 1 for text in texts], dtype=np.int64)
        self.starts = np.cumsum(lengths) - lengths
        self.size = int(lengths.sum())
        # Room for stretches that are asked for beyond the end; it equals nothing in the other row.
        self.codes = np.full(self.size + 2 * LARGEST_STEP + max(SEEDS), end, dtype=np.uint16)
        for start, text in zip(self.starts, texts, strict=True):
            self.codes[start : start + len(text)] = text
        random = np.random.default_rng(0)
        values = random.integers(1, 2**63, MOST_SYMBOLS, dtype=np.uint64)
        base = int(random.integers(2**32, 2**63)) | 1
        powers = _powers(base, len(self.codes))
        self.inverse = _powers(pow(base, -1, 2**64), len(self.codes))
        self.sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values[self.codes] * powers, dtype=np.uint64)])

    def hashes(self, places: NDArray[np.int64], length: int) -> Words:
        """Hashes of the stretches of `length` symbols at `places`."""
        return (self.sums[places + length] - self.sums[places]) * self.inverse[places]

    def all_hashes(self, length: int) -> Words:
        """Hashes of the stretches of `length` symbols at every place."""
        return (self.sums[length : length + self.size] - self.sums[: self.size]) * self.inverse[: self.size]

    def text_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the texts that hold these places."""
        return np.searchsorted(self.starts, places, side="right") - 1


def _powers(base: int, count: int) -> Words:
    """base^0, base^1, ... modulo 2^64."""
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def longest_copies(asked: Sequence[str], known: Sequence[str]) -> list[Copied]:
    """For each asked text, the longest stretch of characters that some known text holds too. Texts are ASCII."""

    def symbols(text: str) -> Symbols:
        return np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8).astype(np.uint16)

    return longest_shared([symbols(text) for text in asked], [symbols(text) for text in known])


def longest_shared(asked: Sequence[Symbols], known: Sequence[Symbols]) -> list[Copied]:
    """For each asked row of symbols, the longest stretch that some known row holds too."""
    found = [Copied(0, len(text), 0, -1) for text in asked]
    row = _Hashed(known, KNOWN_END)
    for seed in SEEDS:
        left = [number for number, copied in enumerate(found) if copied.source < 0 and copied.whole >= seed]
        if not left:
            continue
        questions = _Hashed([asked[number] for number in left], ASKED_END)
        for mine, theirs in _pairs(questions, row, seed):
            lengths = _extend(questions, row, mine, theirs, seed)
            owners, sources = questions.text_at(mine), row.text_at(theirs)
            for best in _best_by_owner(owners, lengths):
                number = left[owners[best]]
                if lengths[best] > found[number].length:
                    start = int(mine[best] - questions.starts[owners[best]])
                    found[number] = Copied(int(lengths[best]), len(asked[number]), start, int(sources[best]))
    return found


def _pairs(
    questions: _Hashed, row: _Hashed, seed: int, at_once: int = 4_000_000
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places in the questions and in the row whose next `seed` symbols are the same, some millions at a time."""
    wanted = questions.all_hashes(seed)
    distinct = np.unique(wanted)
    hashes = row.all_hashes(seed)
    nearest = np.minimum(np.searchsorted(distinct, hashes), len(distinct) - 1)
    places = np.flatnonzero(distinct[nearest] == hashes)
    order = np.argsort(hashes[places], kind="stable")
    places, hashes = places[order], hashes[places[order]]
    first, last = np.searchsorted(hashes, wanted), np.searchsorted(hashes, wanted, side="right")
    counts = last - first
    # A question met by nothing, or that runs over the end of its text, makes no pair.
    totals = np.cumsum(counts)
    begin = 0
    while begin < len(counts) and totals[-1]:
        end = int(np.searchsorted(totals, (totals[begin - 1] if begin else 0) + at_once, side="right"))
        end = max(end, begin + 1)
        some = counts[begin:end]
        mine = np.repeat(np.arange(begin, end, dtype=np.int64), some)
        within = np.arange(len(mine)) - np.repeat(np.cumsum(some) - some, some)
        if len(mine):
            yield mine, places[np.repeat(first[begin:end], some) + within]
        begin = end


def _extend(
    questions: _Hashed, row: _Hashed, mine: NDArray[np.int64], theirs: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """How many symbols are the same from each pair of places on, of which the first `seed` are known to be."""
    lengths = np.full(len(mine), seed, dtype=np.int64)
    step = LARGEST_STEP
    while step:
        same = questions.hashes(mine + lengths, step) == row.hashes(theirs + lengths, step)
        lengths += np.where(same, step, 0)
        step //= 2
    return lengths


def _best_by_owner(owners: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each owner, the index of its largest length."""
    order = np.lexsort((lengths, owners))
    last = np.flatnonzero(np.append(np.diff(owners[order]) != 0, True))
    return order[last]
