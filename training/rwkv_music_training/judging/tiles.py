"""Documents of notes cut into windows that begin at bars, which do not change."""

import numpy as np

from rwkv_music_training.excerpts import beginnings, excerpt, header_length
from rwkv_music_training.note_corpus import NoteCorpus

# Columns of windows: the document, and from where to where in it.
DOCUMENT, BEGIN, END = range(3)


def tiles(places: np.ndarray, header: int, end: int, room: int, phase: float = 1.0) -> list[tuple[int, int]]:
    """A document cut at its `places` into windows of at most `room` ids of music: where each begins and ends.

    `header` is where the music begins, `end` where it ends. The first window has `phase` (0..1) of the room, and the header
    besides. A bar longer than the room is a window of its own.
    """
    windows = []
    begin = header
    room_now = max(1, round(phase * room))
    while begin < end:
        following = end
        if begin + room_now < end:
            place = int(np.searchsorted(places, begin + room_now, side="right")) - 1
            if places[place] <= begin:
                place += 1
            following = int(places[place]) if place < len(places) else end
        windows.append((begin if windows else 0, following))
        begin, room_now = following, room
    return windows


class Windows:
    """The documents of a corpus cut into windows."""

    def __init__(self, corpus: NoteCorpus, max_length: int):
        self.corpus = corpus
        self._max_length = max_length
        self._headers = np.array([header_length(corpus.document(number)) for number in range(len(corpus))])
        self._places = [beginnings(corpus.document(number)).astype(np.int32) for number in range(len(corpus))]

    def of(self, number: int, phase: float = 1.0) -> np.ndarray:
        """The windows of one document: (windows, 3) of DOCUMENT, BEGIN and END."""
        header, end = int(self._headers[number]), int(self.corpus.lengths[number])
        # Besides the header, an excerpt may say the part and the velocity of every part again.
        room = max(1, self._max_length - 2 * header)
        places = self._places[number]
        return np.array([(number, *window) for window in tiles(places, header, end, room, phase)], dtype=np.int64)

    def lengths(self, windows: np.ndarray) -> np.ndarray:
        """The ids of windows, headers included, nearly: (windows,)."""
        headers = np.where(windows[:, BEGIN] > 0, self._headers[windows[:, DOCUMENT]], 0)
        return np.minimum(windows[:, END] - windows[:, BEGIN] + headers, self._max_length)

    def header(self, window: np.ndarray) -> int:
        """The ids of the header of a window."""
        return int(self._headers[window[DOCUMENT]])

    def ids(self, window: np.ndarray) -> np.ndarray:
        """A window as a document of its own, uint16."""
        document, begin, end = (int(value) for value in window)
        return excerpt(self.corpus.document(document), begin, end)[: self._max_length]


def source_quotas(corpus: NoteCorpus, power: float) -> np.ndarray:
    """How many tokens of each source an epoch holds: as many in all as there are, shared by their power. (sources,)"""
    shares = corpus.tokens**power
    return shares / shares.sum() * corpus.tokens.sum()
