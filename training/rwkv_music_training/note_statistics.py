"""What can be counted of played music: its pitch classes, lengths, voices and speed, and its steps from note to note."""

from dataclasses import dataclass

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import QUARTER
from rwkv_music_tokenizers.performance import END, PITCH, START, Performance
from rwkv_music_training.copying import FIRST_SYMBOL, MOST_SYMBOLS, Symbols

# A step's symbol holds the interval and, above it, the time in 1/24 quarters; longer times are told as the longest.
INTERVALS = 256
LONGEST_TIME = (MOST_SYMBOLS - FIRST_SYMBOL) // INTERVALS - 1


@dataclass(frozen=True)
class Statistics:
    """The counts of one piece; drums are left out, and the counts of a piece without notes are 0."""

    notes: int
    seconds: float
    # Of the twelve pitch classes, 0 (one class only) to 3.58 bits (all alike).
    pitch_class_entropy: float
    # The median note, in quarters.
    length: float
    # Notes that sound at once, on average over the time in which any does.
    voices: float

    @property
    def notes_a_second(self) -> float:
        """Notes over the seconds of the piece."""
        return self.notes / self.seconds if self.seconds else 0.0


def statistics(performance: Performance) -> Statistics:
    """Count one piece."""
    notes = _notes(performance)
    if not len(notes):
        return Statistics(0, 0.0, 0.0, 0.0, 0.0)
    shares = np.bincount(notes[:, PITCH] % 12, minlength=12) / len(notes)
    entropy = -float((shares[shares > 0] * np.log2(shares[shares > 0])).sum())
    lengths = notes[:, END] - notes[:, START]
    seconds = float(performance.seconds(np.array([performance.end]))[0])
    voices = float(lengths.sum() / _sounding(notes))
    return Statistics(len(notes), seconds, entropy, float(np.median(lengths)) / performance.ticks, voices)


def _notes(performance: Performance) -> np.ndarray:
    """The notes of all pitched parts (n, 4), by start, then pitch."""
    tables = [track.notes for track in performance.tracks if not track.drums]
    notes = np.concatenate(tables) if tables else np.empty((0, 4), dtype=np.int64)
    return notes[np.lexsort((notes[:, PITCH], notes[:, START]))]


def _sounding(notes: np.ndarray) -> int:
    """Ticks in which at least one of the notes (n, 4), sorted by start, sounds."""
    until = np.maximum.accumulate(notes[:, END])
    gaps = notes[1:, START] - until[:-1]
    return int(until[-1] - notes[0, START] - gaps[gaps > 0].sum())


def steps(performance: Performance) -> Symbols:
    """A symbol for each step from a note to the next (by start, then pitch): its interval, and the time between.

    The steps of a piece are those of the piece in any other key. (notes - 1,), uint16.
    """
    notes = _notes(performance)
    intervals = np.diff(notes[:, PITCH]) + INTERVALS // 2
    times = np.diff(notes[:, START] * QUARTER // performance.ticks)
    return (FIRST_SYMBOL + INTERVALS * np.minimum(times, LONGEST_TIME) + intervals).astype(np.uint16)
