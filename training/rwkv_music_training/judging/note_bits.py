"""What MIDI costs a model: bits a token, a note and a second of music, in windows that do not change."""

from dataclasses import dataclass

import numpy as np

from rwkv_music_training.excerpts import is_note
from rwkv_music_training.judging.predictors import Predictor
from rwkv_music_training.judging.readings import Cost
from rwkv_music_training.judging.tiles import BEGIN, DOCUMENT, Windows


@dataclass(frozen=True)
class NoteBits:
    """What some windows cost; a header that a later window of a document repeats is not counted."""

    windows: int
    tokens: int
    notes: int
    # Of music: each window has its share of its document's seconds by the notes that it holds.
    seconds: float
    bits: float

    @property
    def per_token(self) -> float:
        """Bits a token, end tokens included: the number that chooses the weights."""
        return self.bits / max(1, self.tokens)

    @property
    def per_note(self) -> float:
        """All bits (bars, times, lengths and what else there is too) over the notes."""
        return self.bits / max(1, self.notes)

    @property
    def per_second(self) -> float:
        """All bits over the seconds of music."""
        return self.bits / self.seconds if self.seconds else 0.0

    @property
    def costs(self) -> tuple[Cost, ...]:
        """Bits a token, a note and a second."""
        return (
            Cost("valid", "valid_bits_per_token", self.per_token),
            Cost("valid note", "valid_bits_per_note", self.per_note),
            Cost("valid second", "valid_bits_per_second", self.per_second),
        )

    def __add__(self, other: "NoteBits") -> "NoteBits":
        return NoteBits(
            self.windows + other.windows,
            self.tokens + other.tokens,
            self.notes + other.notes,
            self.seconds + other.seconds,
            self.bits + other.bits,
        )


NOTHING = NoteBits(0, 0, 0, 0.0, 0.0)


def every_window(windows: Windows) -> np.ndarray:
    """All windows of all documents: (windows, 3)."""
    return np.concatenate([windows.of(number) for number in range(len(windows.corpus))])


def some_windows(windows: Windows, tokens: int) -> np.ndarray:
    """Windows of some `tokens` ids in all, as many of each source as it has, evenly spread over each: (windows, 3)."""
    chosen = []
    every = every_window(windows)
    sources = windows.corpus.source[every[:, DOCUMENT]]
    for source in range(len(windows.corpus.sources)):
        mine = every[sources == source]
        mean = windows.lengths(mine).mean()
        count = max(1, min(len(mine), round(tokens / len(windows.corpus.sources) / mean)))
        chosen.append(mine[np.linspace(0, len(mine) - 1, count).round().astype(int)])
    return np.concatenate(chosen)


def evaluate_windows(predictor: Predictor, windows: Windows, chosen: np.ndarray) -> dict[str, NoteBits]:
    """The cost of the chosen windows by source, and of all of them under "all"."""
    corpus = windows.corpus
    documents = [windows.ids(window) for window in chosen]
    by_source: dict[str, NoteBits] = {}
    for window, ids, guess in zip(chosen, documents, predictor.read(documents), strict=True):
        # Of a document's first window the header counts too; its first id is given.
        first = windows.header(window) - 1 if window[BEGIN] else 0
        number = int(window[DOCUMENT])
        notes = int(is_note(ids).sum())
        seconds = float(corpus.seconds[number]) * notes / max(1, int(corpus.notes[number]))
        bits = NoteBits(1, len(ids) - 1 - first, notes, seconds, float(guess.bits[first:].sum()))
        source = corpus.sources[int(corpus.source[number])]
        by_source[source] = by_source.get(source, NOTHING) + bits
    return {"all": sum(by_source.values(), NOTHING), **dict(sorted(by_source.items()))}
