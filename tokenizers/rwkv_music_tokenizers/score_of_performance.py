"""What is played as it would be written: bars, voices, ties, tuplets and spelled pitches of a performance.

Music on a grid is written exactly; free playing is moved to a grid, and the result says so.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rwkv_music_tokenizers.abc_event_text import written_length
from rwkv_music_tokenizers.bar_lines import Ruled, meter_of, rule
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.layers import MOST_ITEMS, Chord, written_bars
from rwkv_music_tokenizers.performance import END, PITCH, START, Performance, Track
from rwkv_music_tokenizers.score import Bar, Barline, Event, Item, Part, Score, Tempo
from rwkv_music_tokenizers.spelling import estimate_key, key_of, spelled, spellings
from rwkv_music_tokenizers.time_grid import Grid, find_grid

MOST_NOTES = 20_000
# A part whose middle note is below this is written in the bass clef: the B below middle C.
BASS_BELOW = 59
# What is played with two hands, by General MIDI program: pianos and other keyboards, organs, the harp.
TWO_HANDS = frozenset((*range(9), *range(16, 21), 46))
# The lowest note of the right hand's staff, and what one staff holds well, if it must; beyond that on either side, a
# tenth of the notes asks for two.
MIDDLE_C, ONE_STAFF, WORTH_A_STAFF = 60, range(55, 65), Fraction(1, 10)
# How far a length may be from the next onset to be meant to reach it: half of it, and a quarter note's half.
LONGEST_GAP = Fraction(1, 2)
# With more changes of tempo than this and one every four bars, only those of a tenth and more are written, at bars.
MOST_TEMPOS = 8
WORTH_A_MARK = 1.1


@dataclass(frozen=True)
class Notation:
    """A performance in notes."""

    score: Score
    # What is not as it was played, in a line; empty where everything is.
    approximate: str = ""


@dataclass(frozen=True)
class _Frame:
    """What all parts of a piece share. `keys` begin with bars, `tempos` at quarters from the beginning."""

    grid: Grid
    bars: list[Ruled]
    keys: dict[int, Key]
    tempos: list[tuple[Fraction, Tempo]]


def score_of_performance(performance: Performance, grid: str = "") -> Notation:
    """The score of a performance, a part for each track that has notes, or for each of two hands; its bars as
    `bar_lines.rule` says.

    `grid` names one of `time_grid.GRIDS` to write free playing in; by default the simplest that fits, and none where
    the piece is on written places already. Without a key the likeliest is taken. Raises NotationError for a piece
    without notes, of more than MOST_NOTES, or too long.
    """
    tracks = [track for track in performance.tracks if len(track.notes)]
    if not tracks:
        raise NotationError("there are no notes to write")
    if performance.count > MOST_NOTES:
        raise NotationError(f"{performance.count:,} notes; at most {MOST_NOTES:,} can be written, play it instead")
    every = np.concatenate([track.notes for track in tracks])
    found = find_grid(performance.ticks, every[:, START].tolist(), every[:, END].tolist(), grid)
    frame = _frame(performance, tracks, found)
    if len(frame.bars) * len(tracks) > MOST_ITEMS:
        raise NotationError(f"more than {MOST_ITEMS:,} bars of all parts; only shorter pieces can be written")
    staffs, braces, doubled = [], [], 0
    for track in tracks:
        notes, twice = _timed(track, found)
        doubled += twice
        hands = _hands(track, notes)
        names = [str(len(staffs) + number) for number in range(1, len(hands) + 1)]
        braces.append(f"{{{' '.join(names)}}}" if len(hands) > 1 else names[0])
        staffs += [(track, hand, below) for below, hand in enumerate(hands)]
    parts: list[Part] = []
    for number, (track, notes, below) in enumerate(staffs):
        parts.append(_part(track, notes, frame, number, len(staffs), below=bool(below)))
        if sum(len(items) for part in parts for bar in part.bars for items in (bar.items, *bar.overlays)) > MOST_ITEMS:
            raise NotationError(f"more than {MOST_ITEMS:,} notes and rests; only shorter pieces can be written")
    told = _told(found, doubled)
    grand = f"score {' '.join(braces)}" if len(staffs) > len(tracks) else ""
    fields = tuple((letter, text) for letter, text in (("T", performance.title), ("N", told), ("%%", grand)) if text)
    start = frame.tempos[0][1]
    return Notation(Score(tuple(parts), frame.bars[0].meter, frame.keys[0], start, _unit(parts), fields), told)


def _frame(performance: Performance, tracks: Sequence[Track], grid: Grid) -> _Frame:
    def quarters(tick: int) -> Fraction:
        # Where changes stand a little off, like the notes of some files do.
        return Fraction(round(Fraction(tick * 16, performance.ticks)), 16)

    meters = {quarters(tick): meter_of(beats, note) for tick, beats, note in performance.meters.tolist()}
    end = max(max(grid.ends.values()), max(grid.onsets.values()) + Fraction(1, 16))
    bars = rule(list(meters.items()), min(grid.onsets.values()), end)
    onsets = [bar.onset for bar in bars]
    keys: dict[int, Key] = {}
    for tick, fifths, minor in performance.keys.tolist():
        place = quarters(tick)
        number = min(bisect_left(onsets, place), len(bars) - 1)
        if number and place - onsets[number - 1] < onsets[number] - place:
            number -= 1
        keys[number] = key_of(fifths, bool(minor))
    if 0 not in keys:
        keys[0] = estimate_key(_durations(tracks))
    return _Frame(grid, bars, dict(sorted(keys.items())), list(_tempos(performance, bars, quarters)))


def _durations(tracks: Sequence[Track]) -> np.ndarray:
    """How long each pitch class sounds, drums left out: (12,) float64."""
    durations = np.zeros(12)
    for track in tracks:
        if not track.drums:
            np.add.at(durations, track.notes[:, PITCH] % 12, track.notes[:, END] - track.notes[:, START])
    return durations


def _tempos(
    performance: Performance, bars: Sequence[Ruled], quarters: Callable[[int], Fraction]
) -> Iterator[tuple[Fraction, Tempo]]:
    """The marks of tempo; of a rubato only what a player would read, at the beginnings of bars."""
    changes = performance.tempos.tolist()
    if len(changes) <= MOST_TEMPOS + len(bars) // 4:
        for tick, microseconds in changes:
            yield quarters(tick), _tempo(Fraction(60_000_000, microseconds))
        return
    lines = np.array([round(line * performance.ticks) for line in (*(bar.onset for bar in bars), bars[-1].end)])
    seconds = np.diff(performance.seconds(lines))
    marked = 0.0
    for bar, length in zip(bars, seconds.tolist(), strict=True):
        now = 60 * float(bar.length) / length
        if not marked or max(now / marked, marked / now) >= WORTH_A_MARK:
            marked = now
            yield bar.onset, _tempo(Fraction(round(now)))


def _tempo(quarters: Fraction) -> Tempo:
    """A mark of so many quarters a minute; a whole number where MIDI's microseconds mean one."""
    whole = round(quarters)
    if whole and round(60_000_000 / quarters) == round(Fraction(60_000_000, whole)):
        return Tempo(Fraction(whole))
    return Tempo(Fraction(round(quarters * 1000), 1000))


def _timed(track: Track, grid: Grid) -> tuple[list[tuple[Fraction, Fraction, int]], int]:
    """Notes as (start, end, pitch) in quarters, and how many were one with another on the grid and are left out."""
    longest: dict[tuple[Fraction, int], Fraction] = {}
    least = Fraction(1, 16) if grid.name is None else Fraction(1, 8)
    for start, end, pitch, _ in track.notes.tolist():
        onset = grid.onsets[start]
        until = grid.ends[end]
        if until <= onset:
            until = onset + least
        longest[onset, pitch] = max(until, longest.get((onset, pitch), until))
    notes = sorted(_released(longest))
    if grid.name or grid.rounded:
        notes = _tidied(notes)
    return notes, len(track.notes) - len(notes)


def _released(longest: dict[tuple[Fraction, int], Fraction]) -> Iterator[tuple[Fraction, Fraction, int]]:
    """Notes of which none is still held when its key is struck again: their ties could not be told apart."""
    strokes: dict[int, list[Fraction]] = defaultdict(list)
    for onset, pitch in sorted(longest):
        strokes[pitch].append(onset)
    for pitch, onsets in strokes.items():
        for onset, following in zip(onsets, [*onsets[1:], None], strict=True):
            until = longest[onset, pitch]
            yield onset, until if following is None else min(until, following), pitch


def _tidied(notes: Sequence[tuple[Fraction, Fraction, int]]) -> list[tuple[Fraction, Fraction, int]]:
    """Lengths that end near an onset of the same part end there: no rests and overlaps that nobody means."""
    onsets = sorted({start for start, _, _ in notes})
    tidied: list[tuple[Fraction, Fraction, int]] = []
    for start, end, pitch in notes:
        reach = min(LONGEST_GAP, (end - start) / 2)
        number = bisect_right(onsets, end)
        near = [onset for onset in onsets[max(0, number - 1) : number + 1] if onset > start]
        nearest = min(near, key=lambda onset: abs(onset - end), default=end)
        tidied.append((start, nearest if abs(nearest - end) <= reach else end, pitch))
    return tidied


def _hands(track: Track, notes: list[tuple[Fraction, Fraction, int]]) -> list[list[tuple[Fraction, Fraction, int]]]:
    """The notes of each staff, the upper one first: two where two hands play on both sides of middle C."""
    low = sum(pitch < ONE_STAFF.start for _, _, pitch in notes)
    high = sum(pitch >= ONE_STAFF.stop for _, _, pitch in notes)
    if track.drums or track.program not in TWO_HANDS or min(low, high) < WORTH_A_STAFF * len(notes):
        return [notes]
    return [[note for note in notes if (note[2] >= MIDDLE_C) is right] for right in (True, False)]


def _part(
    track: Track,
    notes: Sequence[tuple[Fraction, Fraction, int]],
    frame: _Frame,
    number: int,
    count: int,
    *,
    below: bool,
) -> Part:
    """One staff; below: the left hand's, of two."""
    written = written_bars(_chords(notes, frame), frame.bars)
    tempos = [] if number else frame.tempos[1:]
    bars: list[Bar] = []
    for place, (ruled, layers) in enumerate(zip(frame.bars, written, strict=True)):
        changes: list[Item] = []
        if place and place in frame.keys:
            changes.append(frame.keys[place])
        if place and ruled.meter != frame.bars[place - 1].meter:
            changes.append(ruled.meter)
        main = _with_tempos(layers[0], ruled.onset, tempos)
        bars.append(Bar((*changes, *main), tuple(layers[1:]), _close(frame.bars, place)))
    properties = []
    if track.drums:
        properties.append("clef=perc")
    elif below or sorted(pitch for _, _, pitch in notes)[len(notes) // 2] < BASS_BELOW:
        properties.append("clef=bass")
    if track.name and not below:
        name = track.name.replace('"', "'")
        properties.append(f'name="{name}"')
    return Part(tuple(bars), str(number + 1) if count > 1 else "", " ".join(properties), None, track.program)


def _close(bars: Sequence[Ruled], place: int) -> Barline:
    """The line that ends a bar: double after one that a change of meter cuts short."""
    if place == len(bars) - 1:
        return Barline("final")
    return Barline("double" if place and bars[place].length != bars[place].meter.bar else "single")


def _with_tempos(events: Sequence[Event], onset: Fraction, tempos: list[tuple[Fraction, Tempo]]) -> Iterator[Item]:
    """Events from `onset` on with the marks that are due, each before the first event that is not earlier."""
    for event in events:
        due = None
        while tempos and tempos[0][0] <= onset:
            due = tempos.pop(0)[1]
        if due:
            yield due
        yield event
        onset += event.length


def _chords(notes: Sequence[tuple[Fraction, Fraction, int]], frame: _Frame) -> list[Chord]:
    together: dict[tuple[Fraction, Fraction], list[int]] = defaultdict(list)
    for start, end, pitch in notes:
        together[start, end].append(pitch)
    starts = [frame.bars[number].onset for number in frame.keys]
    names = [spellings(key) for key in frame.keys.values()]
    chords: list[Chord] = []
    for (start, end), pitches in together.items():
        names_here = names[max(0, bisect_right(starts, start) - 1)]
        chords.append(Chord(start, end, tuple(spelled(pitch, names_here) for pitch in sorted(pitches))))
    return chords


def _unit(parts: Sequence[Part]) -> Fraction:
    """The unit that most lengths are counted in: a sixteenth where most notes are shorter than an eighth."""
    lengths = [written_length(event) for part in parts for bar in part.bars for event in bar.events if event.tones]
    short = sum(length < Fraction(1, 2) for length in lengths)
    return Fraction(1, 4) if 2 * short > len(lengths) else Fraction(1, 2)


def _told(grid: Grid, doubled: int) -> str:
    """What is approximate, in a line."""
    told: list[str] = []
    if grid.name:
        told.append(f"played freely, written in {grid.name.replace('t', ' and triplets')}")
    elif grid.moved:
        told.append(f"{grid.moved} of {grid.count} notes begin a little earlier or later")
    if grid.name or grid.rounded:
        told.append(f"lengths of {grid.rounded} of {grid.count} notes rounded")
    if doubled:
        told.append(f"{doubled} notes that double another are left out")
    return f"approximate notation: {'; '.join(told)}" if told else ""
