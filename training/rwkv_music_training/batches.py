"""Which tunes, in which keys, make the batch of a step: a pure function of seed and step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.corpus.tunes import Tune, document

Transposer = Callable[[str, int], str]
Shifts = Callable[[str], Sequence[int]]
# Rows are padded to a multiple of this: the kernels keep the state every 16 tokens.
LENGTH_MULTIPLE = 16


@dataclass(frozen=True)
class Batch:
    """Rows of one tune each, from a fresh state, padded on the right.

    inputs, targets: (B, T) int64, targets one token ahead; counted: (B, T) bool, false on padding.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    counted: torch.Tensor

    @property
    def tokens(self) -> int:
        """Positions that count in the loss."""
        return int(self.counted.sum())


def pad(documents: Sequence[np.ndarray]) -> Batch:
    """Lay documents of ids side by side as one batch."""
    longest = max(len(ids) for ids in documents) - 1
    length = -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    inputs = np.zeros((len(documents), length), dtype=np.int64)
    targets = np.zeros_like(inputs)
    counted = np.zeros(inputs.shape, dtype=bool)
    for row, ids in enumerate(documents):
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, : len(ids) - 1] = ids[1:]
        counted[row, : len(ids) - 1] = True
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(counted))


def by_length(lengths: Sequence[int], tokens: int) -> list[np.ndarray]:
    """Groups of indices of like length, longest first, each within `tokens` when padded (or a single one)."""
    groups, group = [], []
    for index in np.argsort(-np.asarray(lengths), kind="stable"):
        if group and (len(group) + 1) * lengths[group[0]] > tokens:
            groups.append(np.array(group))
            group = []
        group.append(int(index))
    return [*groups, np.array(group)] if group else groups


def even_pieces(documents: Sequence[np.ndarray], count: int) -> list[Sequence[np.ndarray]]:
    """Documents cut, in their order, into at most `count` pieces of about the same number of ids."""
    middles = np.cumsum([len(ids) for ids in documents]) - np.array([len(ids) for ids in documents]) / 2
    places = (middles * count / sum(len(ids) for ids in documents)).astype(int)
    pieces = [[ids for ids, where in zip(documents, places, strict=True) if where == place] for place in range(count)]
    return [piece for piece in pieces if piece]


def mixed_by_length(lengths: np.ndarray, count: int, jitter: float, random: np.random.Generator) -> list[np.ndarray]:
    """Indices of documents in `count` groups of like length and about as many tokens, in a random order, none empty."""
    spread = 1 + jitter * (2 * random.random(len(lengths)) - 1)
    order = np.lexsort((random.random(len(lengths)), lengths * spread))
    # The middle of each document, on the line of all tokens, says which of the equal stretches it falls into.
    middles = np.cumsum(lengths[order]) - lengths[order] / 2
    stretch = (middles * count / lengths.sum()).astype(int)
    bounds = np.searchsorted(stretch, np.arange(count + 1))
    groups = [order[first:last] for first, last in zip(bounds[:-1], bounds[1:], strict=True)]
    filled = [group for group in groups if len(group)]
    while len(filled) < count:
        largest = max(range(len(filled)), key=lambda place: len(filled[place]))
        halves = np.array_split(filled.pop(largest), 2)
        filled.extend(halves)
    return [filled[place] for place in random.permutation(len(filled))]


class Batches(Protocol):
    """The batches of a run, a pure function of the global step; `per_epoch` of them go once through the music."""

    per_epoch: int

    def at(self, step: int) -> list[Batch]:
        """The batch of a step, counted from 0, in pieces of about the same work."""
        ...


class TuneBatches:
    """The batches of a run. Each epoch holds every tune once, in the same number of batches.

    transpose(text, semitones) and shifts(text) come from the ABC tools; a tune that has no other key stays as it is.
    """

    def __init__(self, tunes: Sequence[Tune], config: TrainingConfig, transpose: Transposer, shifts: Shifts):
        self._tunes = tunes
        self._config = config
        self._transpose = transpose
        self._shifts = shifts
        self._keys: dict[int, tuple[int, ...]] = {}
        self._documents: dict[tuple[int, int], np.ndarray] = {}
        self._lengths = np.array([min(len(tune.text) + 2, config.max_length) for tune in tunes])
        self.per_epoch = max(1, round(int(self._lengths.sum()) / config.tokens_per_batch))
        self._epoch: tuple[int, list[np.ndarray], np.ndarray] | None = None

    def at(self, step: int) -> list[Batch]:
        """The batch of a global step, counted from 0, in at most `config.pieces` pieces of about the same work."""
        epoch, place = divmod(step, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, *self._plan(epoch))
        _, groups, draws = self._epoch
        documents = [self._document(index, draws[index]) for index in groups[place]]
        documents.sort(key=len)
        return [pad(piece) for piece in even_pieces(documents, self._config.pieces)]

    def members(self, step: int) -> np.ndarray:
        """Indices of the tunes in the batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        return self._plan(epoch)[0][place]

    def _plan(self, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Groups of tune indices in order, and two uniform draws for each tune: (tunes, 2)."""
        random = np.random.default_rng([self._config.seed, epoch])
        draws = random.random((len(self._tunes), 2))
        groups = mixed_by_length(self._lengths, self.per_epoch, self._config.length_jitter, random)
        return groups, draws

    def _document(self, index: int, draws: np.ndarray) -> np.ndarray:
        """The ids of one tune in the key that its two draws choose: whether to transpose, and where to."""
        shift = 0
        if draws[0] >= self._config.untransposed:
            if index not in self._keys:
                self._keys[index] = tuple(key for key in self._shifts(self._tunes[index].text) if key)
            keys = self._keys[index]
            shift = keys[int(draws[1] * len(keys))] if keys else 0
        if (index, shift) not in self._documents:
            text = self._tunes[index].text
            moved = self._transpose(text, shift) if shift else text
            self._documents[index, shift] = document(moved, self._config.max_length)
        return self._documents[index, shift]
