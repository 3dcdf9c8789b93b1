"""What can be counted of played music: pitch classes, scale, groove, voices, silence and repetition.

The formulas are those of muspy 0.5 (H.-W. Dong and others, ISMIR 2020) and the works that it cites, over whole pieces at
once. Where muspy counts one beat or bar more because music ends exactly on its line, this counts the music only.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import QUARTER
from rwkv_music_tokenizers.performance import END, PITCH, START, Performance

MAJOR = (0, 2, 4, 5, 7, 9, 11)
# (12, 12): whether a pitch class is of the major scale on a root; natural minor scales have the same notes.
SCALES = np.isin((np.arange(12)[None] - np.arange(12)[:, None]) % 12, MAJOR)


@dataclass(frozen=True)
class Statistics:
    """The counts of one piece, drums left out; nan where there is too little music to count."""

    notes: int
    seconds: float
    # Of the twelve pitch classes, 0 (one class only) to 3.58 bits (all alike).
    pitch_class_entropy: float
    # The share of notes in the best of all major and natural minor scales, 0..1.
    scale_consistency: float
    # How alike the onsets of neighbouring bars are, 0..1 (Wu and Yang 2020).
    groove: float
    # Pitches that sound at once, on average over the time in which any does.
    polyphony: float
    # The share of quarters in which nothing sounds, 0..1.
    empty_beats: float
    # The share of bars with notes that stood in the piece before, note for note, 0..1.
    repetition: float
    # The median note, in quarters.
    length: float

    @property
    def notes_a_second(self) -> float:
        """Notes over the seconds of the piece."""
        return self.notes / self.seconds if self.seconds else 0.0


def statistics(performance: Performance) -> Statistics:
    """Count one piece."""
    notes = pitched_notes(performance)
    if not len(notes):
        return Statistics(0, 0.0, *[math.nan] * 7)
    starts, ends = notes[:, START], notes[:, END]
    bars = bar_lines(performance)
    return Statistics(
        len(notes),
        float(performance.seconds(np.array([performance.end]))[0]),
        pitch_class_entropy(notes[:, PITCH]),
        scale_consistency(notes[:, PITCH]),
        groove(starts * QUARTER // performance.ticks, bars),
        polyphony(notes),
        empty_beats(starts, ends, performance.ticks),
        repetition(notes, performance.ticks, bars),
        float(np.median(ends - starts)) / performance.ticks,
    )


def medians(counted: Sequence[Statistics]) -> dict[str, float | None]:
    """The median of every count over the pieces that have it; None where none has."""
    found = {}
    for name in (*Statistics.__dataclass_fields__, "notes_a_second"):
        values = np.array([getattr(one, name) for one in counted], dtype=float)
        values = values[np.isfinite(values)]
        found[name] = round(float(np.median(values)), 4) if len(values) else None
    return found


def plain(counted: Statistics) -> dict[str, float | None]:
    """The counts of one piece as JSON data."""
    return {name: None if math.isnan(value) else round(value, 4) for name, value in asdict(counted).items()}


def pitched_notes(performance: Performance) -> np.ndarray:
    """The notes of all pitched parts (n, 4), by start, then pitch."""
    tables = [track.notes for track in performance.tracks if not track.drums]
    notes = np.concatenate(tables) if tables else np.empty((0, 4), dtype=np.int64)
    return notes[np.lexsort((notes[:, PITCH], notes[:, START]))]


def bar_lines(performance: Performance) -> np.ndarray:
    """Where bars begin, and where the last one that holds music ends, in units of 1/24 quarter: (bars + 1,)."""
    lines: list[np.ndarray] = []
    end = performance.end * QUARTER / performance.ticks
    starts = performance.meters[:, 0] * QUARTER / performance.ticks
    for place, (_, beats, beat) in enumerate(performance.meters.tolist()):
        until = starts[place + 1] if place + 1 < len(starts) else end
        if until > starts[place]:
            lines.append(np.arange(starts[place], min(until, end), 4 * QUARTER * beats / beat))
    lasts = [line for line in lines if len(line)]
    if not lasts:
        return np.zeros(1)
    _, beats, beat = performance.meters[max(0, int(np.searchsorted(starts, lasts[-1][-1], side="right")) - 1)].tolist()
    return np.concatenate([*lasts, [lasts[-1][-1] + 4 * QUARTER * beats / beat]])


def pitch_class_entropy(pitches: np.ndarray) -> float:
    """Bits of the distribution of pitch classes of pitches (n,): - sum p log2 p."""
    shares = np.bincount(pitches % 12, minlength=12) / len(pitches)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def scale_consistency(pitches: np.ndarray) -> float:
    """The largest share of pitches (n,) that one scale holds: max over root and mode of the pitch-in-scale rate."""
    return float((SCALES @ np.bincount(pitches % 12, minlength=12)).max() / len(pitches))


def groove(onsets: np.ndarray, bars: np.ndarray) -> float:
    """1 - the mean Hamming distance of the onsets of neighbouring bars, over the places of a bar (Wu and Yang 2020).

    onsets (n,) and bar lines (bars + 1,), in units. Bars of different lengths are not compared; nan without a pair.
    """
    lengths = np.diff(bars)
    pairs = np.flatnonzero(lengths[1:] == lengths[:-1])
    if not len(pairs):
        return math.nan
    places = np.unique(onsets)
    bar = np.searchsorted(bars, places, side="right") - 1
    inside = (bar >= 0) & (bar < len(lengths))
    bar, place = bar[inside], (places[inside] - bars[bar[inside]]).astype(np.int64)
    size = int(np.ceil(lengths.max())) + 1
    struck = np.bincount(bar, minlength=len(lengths))
    # An onset in both bars of a pair is one at the same place of the next bar.
    marks = bar * size + place
    both = np.bincount(bar[np.isin(marks + size, marks)], minlength=len(lengths))
    distance = struck[pairs] + struck[pairs + 1] - 2 * both[pairs]
    return float(1 - (distance / lengths[pairs]).mean())


def polyphony(notes: np.ndarray) -> float:
    """Different pitches that sound, on average over the time in which any does; notes (n, 4)."""
    apart = notes[:, PITCH] * (2 * int(notes[:, END].max()) + 1)
    return _covered(notes[:, START] + apart, notes[:, END] + apart) / _covered(notes[:, START], notes[:, END])


def empty_beats(starts: np.ndarray, ends: np.ndarray, ticks: int) -> float:
    """The share of quarters up to the last end in which nothing sounds; starts and ends (n,) in ticks."""
    first, last = starts // ticks, -(-ends // ticks)
    beats = int(last.max())
    changes = np.bincount(first, minlength=beats + 1) - np.bincount(last, minlength=beats + 1)
    return float((np.cumsum(changes)[:beats] == 0).mean())


def repetition(notes: np.ndarray, ticks: int, bars: np.ndarray) -> float:
    """The share of bars with notes that stood before with the same onsets, pitches and lengths; nan with one bar."""
    onsets = notes[:, START] * QUARTER // ticks
    bar = np.searchsorted(bars, onsets, side="right") - 1
    inside = bar >= 0
    told = np.column_stack([onsets - bars[bar], notes[:, PITCH], notes[:, END] - notes[:, START]]).astype(np.int64)
    rows, held = told[inside], bar[inside]
    parts = np.split(rows, np.flatnonzero(np.diff(held)) + 1)
    if len(parts) < 2:
        return math.nan
    return 1 - len({part.tobytes() for part in parts}) / len(parts)


def _covered(starts: np.ndarray, ends: np.ndarray) -> int:
    """The length of the union of intervals."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    before = np.concatenate([[starts[0]], np.maximum.accumulate(ends)[:-1]])
    return int(np.maximum(0, ends - np.maximum(starts, before)).sum())
