"""Notes of one part as layers of bars: chords, ties over bar lines, rests, tuplets and beams; nothing is lost.

Notes that begin and end together are a chord; what overlaps goes to further layers, the first that is free.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import lcm

from rwkv_music_tokenizers.abc_event_text import is_flagged
from rwkv_music_tokenizers.bar_lines import Ruled
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Pitch
from rwkv_music_tokenizers.score import Event, Tone, Tuplet

# Where a tuplet may begin and end: at multiples of its length, which is one of these, in quarters.
WINDOWS = tuple(Fraction(2) ** power for power in range(-3, 4))
# Notes and rests that a written part, and a written piece, may have.
MOST_ITEMS = 40_000
# Bars of which it is remembered how they are written.
MOST_KEPT = 8_192


@dataclass(frozen=True)
class Chord:
    """Pitches that begin and end together, in quarters from the beginning of the piece."""

    start: Fraction
    end: Fraction
    pitches: tuple[Pitch, ...]


@dataclass(frozen=True)
class _Piece:
    """What a layer does for a while within a bar, in quarters from the beginning of its measure."""

    start: Fraction
    end: Fraction
    pitches: tuple[Pitch, ...] = ()
    tied: bool = False


def layered(chords: Sequence[Chord]) -> list[list[Chord]]:
    """Chords as layers in which none overlap: each goes to the first layer that is free, higher ones first."""
    layers: list[list[Chord]] = []
    for chord in sorted(chords, key=lambda chord: (chord.start, -max(pitch.midi for pitch in chord.pitches))):
        free = next((layer for layer in layers if layer[-1].end <= chord.start), None)
        if free is None:
            free = []
            layers.append(free)
        free.append(chord)
    return layers


def written_bars(chords: Sequence[Chord], bars: Sequence[Ruled]) -> list[list[tuple[Event, ...]]]:
    """For each bar its layers of events: the main one always, the others as deep as notes sound in it.

    Raises NotationError for more than MOST_ITEMS notes and rests.
    """
    written: list[list[tuple[Event, ...]]] = [[] for _ in bars]
    items = 0
    for depth, layer in enumerate(layered(chords) or [[]]):
        by_bar = _by_bar(layer, bars)
        for number, bar in enumerate(bars):
            inside = by_bar.get(number, [])
            if not inside and depth:
                continue
            # A layer that is empty here, but lies between ones that are not.
            empty = depth - len(written[number])
            written[number] += [_bar_events([], bar, hidden=True)] * empty
            written[number].append(_bar_events(inside, bar, hidden=depth > 0))
            items += empty + len(written[number][-1])
            if items > MOST_ITEMS:
                raise NotationError(f"more than {MOST_ITEMS:,} notes and rests; only shorter pieces can be written")
    return written


def _by_bar(layer: Sequence[Chord], bars: Sequence[Ruled]) -> dict[int, list[Chord]]:
    """Bar number -> the chords that sound in it."""
    found: dict[int, list[Chord]] = defaultdict(list)
    number = 0
    for chord in layer:
        while bars[number].end <= chord.start:
            number += 1
        for later in range(number, len(bars)):
            if bars[later].onset >= chord.end:
                break
            found[later].append(chord)
    return found


def _bar_events(chords: Sequence[Chord], bar: Ruled, hidden: bool) -> tuple[Event, ...]:
    if not chords:
        return (Event(bar.length, hidden=hidden, whole_bar=bar.length == bar.meter.bar),)
    return _written(tuple(_pieces(chords, bar)), bar.start, bar.length, bar.meter.beat, hidden)


# A piece that grows is written over and over, and music says much twice.
@lru_cache(MOST_KEPT)
def _written(
    pieces: tuple[_Piece, ...], start: Fraction, length: Fraction, beat: Fraction, hidden: bool
) -> tuple[Event, ...]:
    """The events of pieces that fill so much of a measure, from `start` on."""
    windows = _windows(pieces, start, length)
    events: list[Event] = []
    for window, inside in _cut(pieces, windows):
        for number, piece in enumerate(inside):
            tones = tuple(Tone(pitch, piece.tied) for pitch in piece.pitches)
            tuplet = Tuplet(window.actual, window.normal, len(inside), number) if window else None
            event = Event(piece.end - piece.start, tones, hidden=hidden and not tones, tuplet=tuplet)
            events.append(replace(event, beamed=_is_beamed(events, event, piece.start, beat)))
    return tuple(events)


def _is_beamed(before: Sequence[Event], event: Event, place: Fraction, beat: Fraction) -> bool:
    """A flagged note after a flagged note in the same beat."""
    return bool(before) and place % beat != 0 and is_flagged(before[-1]) and is_flagged(event)


def _pieces(chords: Sequence[Chord], bar: Ruled) -> list[_Piece]:
    """Notes and rests that fill a bar; a note that the bar line cuts is tied."""
    shift = bar.start - bar.onset
    pieces: list[_Piece] = []
    now = bar.onset
    for chord in chords:
        start, end = max(chord.start, bar.onset), min(chord.end, bar.end)
        if start > now:
            pieces.append(_Piece(now + shift, start + shift))
        pieces.append(_Piece(start + shift, end + shift, chord.pitches, chord.end > bar.end))
        now = end
    if now < bar.end:
        pieces.append(_Piece(now + shift, bar.end + shift))
    return pieces


@dataclass(frozen=True)
class _Window:
    """A tuplet's stretch of the measure: `actual` notes in the time of `normal`."""

    start: Fraction
    end: Fraction
    actual: int

    @property
    def normal(self) -> int:
        return 1 << (self.actual.bit_length() - 1)


def _windows(pieces: Sequence[_Piece], first: Fraction, length: Fraction) -> list[_Window]:
    """The tuplets that a layer needs in a bar, in order: for each place that is no binary one the least that holds it."""
    places = {piece.start for piece in pieces} | {piece.end for piece in pieces}
    last = first + length
    found: list[_Window] = []
    for place in sorted(places):
        if _odd(place.denominator) == 1 or (found and place < found[-1].end):
            continue
        taken = found[-1].end if found else first
        choices = [(size * (place // size), size * (place // size + 1)) for size in WINDOWS]
        fitting = [(start, end) for start, end in choices if taken <= start and end <= last]
        # Better one that no note crosses than a smaller one.
        whole = [window for window in fitting if places.issuperset(window)]
        quarter = Fraction(place // 1)
        start, end = (whole or fitting or [(max(taken, quarter), min(last, quarter + 1))])[0]
        inside = [Fraction(one - start) / (end - start) for one in places if start < one < end]
        found.append(_Window(start, end, lcm(*(_odd(one.denominator) for one in inside))))
    return found


def _odd(number: int) -> int:
    return number // (number & -number)


def _cut(pieces: Sequence[_Piece], windows: Sequence[_Window]) -> list[tuple[_Window | None, list[_Piece]]]:
    """Pieces cut where tuplets begin and end, each tuplet's together, the others one by one."""
    edges = sorted({edge for window in windows for edge in (window.start, window.end)})
    parts: list[_Piece] = []
    for piece in pieces:
        inner = [edge for edge in edges if piece.start < edge < piece.end]
        bounds = [piece.start, *inner, piece.end]
        for start, end in zip(bounds, bounds[1:], strict=False):
            parts.append(_Piece(start, end, piece.pitches, bool(piece.pitches) and (piece.tied or end < piece.end)))
    grouped: list[tuple[_Window | None, list[_Piece]]] = []
    for part in parts:
        window = next((one for one in windows if one.start <= part.start < one.end), None)
        if window and grouped and grouped[-1][0] == window:
            grouped[-1][1].append(part)
        else:
            grouped.append((window, [part]))
    return grouped
