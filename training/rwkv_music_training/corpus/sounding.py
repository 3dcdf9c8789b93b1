"""The notes of a piece as they sound, on one clock for scores and performances: 24 units a quarter."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from rwkv_music_tokenizers.performance import END, PITCH, START, Performance
from rwkv_music_tokenizers.score import Score
from rwkv_music_tokenizers.tempos import starting_tempo
from rwkv_music_tokenizers.unfold import performed_notes

UNITS = 24


@dataclass(frozen=True, eq=False)
class Sounding:
    """Notes, sorted by start, then pitch."""

    # Each (n,) int64: when notes start and end, in units, and their pitches; drums are DRUM higher.
    starts: np.ndarray
    ends: np.ndarray
    pitches: np.ndarray
    # From the beginning of the piece to its last note's end; and the longest time, in seconds, in which nothing sounds.
    seconds: float
    silence: float

    @property
    def count(self) -> int:
        """How many notes there are."""
        return len(self.starts)

    @cached_property
    def pitched(self) -> np.ndarray:
        """(n,) bool: which notes are no strokes on a drum."""
        return self.pitches < DRUM


DRUM = 128


def sounding_performance(performance: Performance) -> Sounding:
    """The notes of a performance with at least one."""
    tables = [track.notes for track in performance.tracks]
    notes = np.concatenate(tables)
    drums = np.repeat([DRUM * track.drums for track in performance.tracks], list(map(len, tables)))
    ticks = notes[:, [START, END]]
    seconds = performance.seconds(ticks.reshape(-1)).reshape(-1, 2)
    units = (2 * UNITS * ticks + performance.ticks) // (2 * performance.ticks)
    return _sounding(units, notes[:, PITCH] + drums, seconds)


def sounding_score(score: Score) -> Sounding:
    """The notes of a score that has any, as it is performed. Raises NotationError for repeats without end."""
    notes = performed_notes(score)
    told = [(_units(note.onset), _units(note.onset + note.length), note.pitch) for note in notes]
    table = np.array(told, dtype=np.int64).reshape(-1, 3)
    seconds = table[:, :2] * float(60 / starting_tempo(score) / UNITS)
    return _sounding(table[:, :2], table[:, 2], seconds)


def _units(quarters: Fraction) -> int:
    return int(UNITS * quarters + Fraction(1, 2))


def _sounding(units: np.ndarray, pitches: np.ndarray, seconds: np.ndarray) -> Sounding:
    order = np.lexsort((pitches, units[:, 0]))
    units, pitches, seconds = units[order], pitches[order], seconds[order]
    sounded = np.maximum.accumulate(np.append(0.0, seconds[:, 1]))
    silence = float((seconds[:, 0] - sounded[:-1]).max(initial=0.0))
    return Sounding(units[:, 0], units[:, 1], pitches, float(sounded[-1]), silence)
