"""Which windows of which documents make a step: a function of seed and step alone, with nothing to remember.

Every epoch shuffles the documents by a bijection of their numbers that the seed and the epoch choose, lays them on one
long line of positions and cuts that line into steps. So any process can seek any step of any run, and a run that goes on
reads what it would have read.
"""

from dataclasses import dataclass

import numpy as np

_ROUNDS = 6
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mixed(values: np.ndarray) -> np.ndarray:
    """64 bits that depend on all 64 bits of each value, (n,) uint64 (splitmix64, Steele et al. 2014)."""
    values = values + _MIX[0]
    values = (values ^ (values >> np.uint64(30))) * _MIX[1]
    values = (values ^ (values >> np.uint64(27))) * _MIX[2]
    return values ^ (values >> np.uint64(31))


def key_of(*numbers: int | np.ndarray) -> np.ndarray:
    """64 bits made of some numbers, (1,) uint64; (n,) where some of them are arrays (n,)."""
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        key = mixed(key ^ np.asarray(number).astype(np.uint64))
    return key


def shuffled(places: np.ndarray, count: int, key: np.ndarray) -> np.ndarray:
    """What stands at each of the `places` of a shuffling of 0..count-1, a bijection chosen by the key: (n,) int64.

    A Feistel network over the least even number of bits that holds `count`; what falls outside walks on until it is
    inside (Black and Rogaway 2002). It gives the same order on every machine and with every version of numpy.
    """
    half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    values = np.asarray(places, dtype=np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        left, right = values[outside] >> half, values[outside] & mask
        for turn in range(_ROUNDS):
            told = mixed(right ^ mixed(key + np.uint64(turn)))
            left, right = right, (left ^ told) & mask
        values[outside] = (left << half) | right
        outside = values >= count
    return values.astype(np.int64)


@dataclass(frozen=True)
class Windows:
    """Stretches of documents, one an entry; ids `begin` to `end` of the document as it is kept."""

    document: np.ndarray
    # The pass through its source in which the document is read: with the seed it chooses key and tempo.
    cycle: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.document)

    def __getitem__(self, chosen: np.ndarray | slice) -> "Windows":
        return Windows(self.document[chosen], self.cycle[chosen], self.begin[chosen], self.end[chosen])

    @property
    def positions(self) -> np.ndarray:
        """Positions that each predicts, (n,) int64: the last id of a window is only predicted."""
        return self.end - self.begin - 1


class Order:
    """The documents of every epoch in their order."""

    def __init__(self, lengths: np.ndarray, sources: np.ndarray, seed: int, power: float = 1.0):
        """lengths: (D,) ids of each document; sources: (D,) names. Documents of less than two ids are never read.

        power: how much an epoch holds of each source is its ids to this power, as many ids in all as there are.
        """
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._seed = seed
        names = np.unique(np.asarray(sources))
        self._members = [np.flatnonzero((sources == name) & (self._lengths > 1)) for name in names]
        self._members = [members for members in self._members if len(members)]
        if not self._members:
            raise ValueError("there is nothing to read: no document has two ids or more")
        held = np.array([self._lengths[members].sum() for members in self._members], dtype=np.float64)
        shares = held**power / (held**power).sum() * held.sum() / held
        # Documents of each source in an epoch.
        self._each = [max(1, round(len(members) * share)) for members, share in zip(self._members, shares, strict=True)]

    def documents(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The documents of an epoch in their order, and the cycle of each: (n,) int64 both."""
        chosen, cycles = [], []
        for source, (members, each) in enumerate(zip(self._members, self._each, strict=True)):
            places = epoch * each + np.arange(each)
            own = places // len(members)
            for cycle in np.unique(own):
                key = key_of(self._seed, 1, source, int(cycle))
                chosen.append(members[shuffled(places[own == cycle] % len(members), len(members), key)])
            cycles.append(own)
        return self._mixed(epoch, np.concatenate(chosen), np.concatenate(cycles))

    def _mixed(self, epoch: int, documents: np.ndarray, cycles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(self._members) == 1:
            return documents, cycles
        places = shuffled(np.arange(len(documents)), len(documents), key_of(self._seed, 2, epoch))
        return documents[places], cycles[places]

    def whole(self, epoch: int) -> Windows:
        """The documents of an epoch, each in one piece."""
        documents, cycles = self.documents(epoch)
        return Windows(documents, cycles, np.zeros_like(documents), self._lengths[documents])

    def windows(self, epoch: int, room: int) -> Windows:
        """The windows of an epoch in their order: documents of more than `room` (2 or more) ids are cut, anew each cycle.

        Neighbours share one id, which the first predicts and the second begins with.
        """
        documents, cycles = self.documents(epoch)
        lengths = self._lengths[documents]
        phase = 1 + (key_of(self._seed, 3, documents, cycles) % np.uint64(room - 1)).astype(np.int64)
        first = np.where(lengths > room, phase, lengths - 1)
        more = -(-(lengths - 1 - first) // (room - 1))
        number = np.arange((more + 1).sum()) - np.repeat(np.cumsum(more + 1) - more - 1, more + 1)
        documents, cycles, lengths, first = (np.repeat(each, more + 1) for each in (documents, cycles, lengths, first))
        begin = np.where(number > 0, first + (number - 1) * (room - 1), 0)
        end = np.minimum(first + number * (room - 1), lengths - 1) + 1
        places = shuffled(np.arange(len(begin)), len(begin), key_of(self._seed, 4, epoch))
        return Windows(documents, cycles, begin, end)[places]


def even_cuts(positions: np.ndarray, count: int) -> np.ndarray:
    """Where to cut windows, in their order, into `count` groups of about as many positions: (count + 1,) of indices.

    A window belongs where its middle falls.
    """
    middles = np.cumsum(positions) - positions / 2
    edges = np.arange(1, count) * (positions.sum() / count)
    return np.concatenate([[0], np.searchsorted(middles, edges), [len(positions)]]).astype(np.int64)
