"""Which documents are the same and which nearly so: the ladder of duplicates, and clusters that no split may part."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from rwkv_music_training.corpus.fingerprints import BANDS, jaccard

# Documents that share a band are compared two by two; of more than so many that do, all are taken to be kin.
MOST_COMPARED = 500


class Clusters:
    """Sets of numbers 0..count-1, each alone at first."""

    def __init__(self, count: int):
        self._above = list(range(count))

    def root(self, number: int) -> int:
        """The least member of a number's set."""
        above = self._above
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low

    def roots(self) -> np.ndarray:
        """(count,): the least member of the set of each."""
        return np.array([self.root(number) for number in range(len(self._above))], dtype=np.int64)


def first_of(digests: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(D,): for each document the first in `order` with the same digest, itself if it is that."""
    _, inverse = np.unique(digests, return_inverse=True)
    firsts = np.full(inverse.max(initial=-1) + 1, -1)
    backwards = order[::-1]
    firsts[inverse[backwards]] = backwards
    return firsts[inverse]


@dataclass(frozen=True, eq=False)
class Sketches:
    """What is compared of D documents."""

    # (BANDS, all) uint64; (n,) uint32, those of a document d of all at bounds[d]:bounds[d + 1].
    bands: np.ndarray
    shingles: np.ndarray
    bounds: np.ndarray
    # (D,): which of all documents these are.
    chosen: np.ndarray

    def set_of(self, number: int) -> np.ndarray:
        """The shingles of one of the D documents, rising."""
        document = self.chosen[number]
        return self.shingles[self.bounds[document] : self.bounds[document + 1]]


def near_clusters(sketches: Sketches, near: float) -> tuple[Clusters, Clusters]:
    """Documents whose melodies have a Jaccard index of at least `near`, and their kin: those that are not to be parted.

    Every pair that shares a band is compared exactly, but in crowds, whose members all become kin.
    """
    same, kin = (Clusters(len(sketches.chosen)) for _ in range(2))
    different: set[tuple[int, int]] = set()
    for band in range(BANDS):
        for crowd in _crowds(sketches.bands[band][sketches.chosen]):
            if len(crowd) > MOST_COMPARED:
                for other in crowd[1:]:
                    kin.join(crowd[0], other)
                continue
            for pair in combinations(crowd, 2):
                if same.root(pair[0]) == same.root(pair[1]) or pair in different:
                    continue
                if jaccard(*map(sketches.set_of, pair)) >= near:
                    same.join(*pair)
                    kin.join(*pair)
                else:
                    different.add(pair)
    return same, kin


def _crowds(band: np.ndarray) -> Iterator[list[int]]:
    """The numbers of documents, rising, that share a value, for each value that several have."""
    order = np.argsort(band, kind="stable")
    values = band[order]
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    lengths = np.diff(np.append(begins, len(values)))
    for begin, length in zip(begins[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True):
        yield order[begin : begin + length].tolist()
