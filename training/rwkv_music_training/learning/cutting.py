"""Where a long document may be cut, and what its parts say of what went before."""

from typing import Protocol

import numpy as np

from rwkv_music_training.excerpts import beginnings, excerpt, header_length


class Cutting(Protocol):
    """How documents of one code are cut into windows."""

    def cut(self, ids: np.ndarray, begin: int, end: int) -> np.ndarray:
        """About the ids `begin` to `end` of a document, as a document that can be read on its own: (n,) int64.

        The bounds of neighbours share one id, which the first predicts and the second begins with: so nothing is
        predicted twice and nothing left out. Empty where a part has nothing of its own.
        """
        ...


class Anywhere:
    """Ids as they are: for characters, and where the state is carried on."""

    def cut(self, ids: np.ndarray, begin: int, end: int) -> np.ndarray:
        """See `Cutting`."""
        return ids[begin:end]


class AtBars:
    """Documents of notes: cut at bars (or at moments); each part has a header that says what holds there."""

    def cut(self, ids: np.ndarray, begin: int, end: int) -> np.ndarray:
        """See `Cutting`. A part may be a header and a bar longer than it was asked for."""
        places = beginnings(ids)
        first = _snapped(places, ids, begin)
        last = len(ids) if end >= len(ids) else _snapped(places, ids, end - 1)
        if first >= last:
            return ids[:0]
        return excerpt(ids, first, last).astype(np.int64)


def _snapped(places: np.ndarray, ids: np.ndarray, place: int) -> int:
    """The last of `places` up to `place`; 0 where that is in the header."""
    before = int(np.searchsorted(places, place, side="right")) - 1
    return int(places[before]) if before >= 0 and places[before] > header_length(ids) else 0
