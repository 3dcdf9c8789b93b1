"""Chord symbols as an accompaniment: a bass note where a group of beats begins, the chord on the other beats."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rwkv_music_tokenizers.chords import ChordSymbol, parse_chord
from rwkv_music_tokenizers.measures import Measure
from rwkv_music_tokenizers.playing import Sound
from rwkv_music_tokenizers.score import Event, Meter, Score
from rwkv_music_tokenizers.timeline import timeline

BASS_VELOCITY = 70
CHORD_VELOCITY = 56
# The lowest bass note (C2) and the lowest chord note (E3); each lies within the octave above.
LOWEST_BASS = 36
LOWEST_CHORD = 52
# A measure of more beats than this is only given its first one.
MOST_BEATS = 24
# Chord symbols that mean silence.
SILENCE = ("n.c.", "nc", "n.c", "no chord", "tacet")
_FIFTH = 7


@dataclass(frozen=True)
class Beat:
    """A stroke of the pattern: its place and length in the measure, in quarters; `bass` or else the chord."""

    place: Fraction
    length: Fraction
    bass: bool


@dataclass(frozen=True)
class Accompaniment:
    """What the left hand plays: bass notes and chords."""

    bass: tuple[Sound, ...]
    chords: tuple[Sound, ...]


@lru_cache(maxsize=64)
def pattern(meter: Meter) -> tuple[Beat, ...]:
    """The strokes of a full measure; none in free meter.

    Beats go in twos (bass, chord), the last odd one making a three (bass, chord, chord): 4/4 is bass chord bass
    chord, 3/4 bass chord chord. A beat that divides in three (6/8) is bass and, on its last third, chord; a measure of
    two beats (2/4) is counted in four.
    """
    if meter.bar is None or meter.bar <= 0 or meter.beat <= 0:
        return ()
    beat = meter.beat
    count = int(meter.bar / beat)
    if not 0 < count <= MOST_BEATS:
        return (Beat(Fraction(0), meter.bar, True),)
    if beat.numerator % 3 == 0:
        third = beat / 3
        strokes = [(Fraction(0), 2 * third, True), (2 * third, third, False)]
        return tuple(Beat(number * beat + at, length, bass) for number in range(count) for at, length, bass in strokes)
    if count == 2:
        beat, count = beat / 2, 4
    last_three = count - 3 if count % 2 and count > 1 else count
    groups = [number < last_three and number % 2 == 0 or number == last_three for number in range(count)]
    return tuple(Beat(number * beat, beat, bass) for number, bass in enumerate(groups))


def accompany(score: Score, measures: Sequence[Sequence[Measure]]) -> Accompaniment:
    """The accompaniment of a score already unfolded; `measures` are those of all its parts.

    The chord symbols of the first part that has any are played. Both tuples are empty when there are none.
    """
    symbols: dict[int, list[tuple[Fraction, ChordSymbol | None]]] = {}
    for moment in timeline(score):
        if isinstance(moment.item, Event) and moment.item.chord:
            text = moment.item.chord
            chord = parse_chord(text)
            if chord is not None or text.strip().lower() in SILENCE:
                symbols.setdefault(moment.part, []).append((moment.onset, chord))
    if not symbols:
        return Accompaniment((), ())
    part = min(symbols)
    changes = sorted(symbols[part], key=lambda change: change[0])
    strokes = list(_strokes(changes, measures[part]))
    bass = tuple(sound for is_bass, sound in strokes if is_bass)
    return Accompaniment(bass, tuple(sound for is_bass, sound in strokes if not is_bass))


def _strokes(
    changes: Sequence[tuple[Fraction, ChordSymbol | None]], measures: Sequence[Measure]
) -> Iterator[tuple[bool, Sound]]:
    """(is it the bass, sound) for every stroke of every measure."""
    onsets = [onset for onset, _chord in changes]
    sounded: int | None = None
    for measure in measures:
        end = measure.onset + measure.length
        for on, stroke in _placed(measure, onsets):
            number = bisect_right(onsets, on) - 1
            chord = changes[number][1] if number >= 0 else None
            if chord is None:
                continue
            off = min(on + stroke.length, end)
            # A chord that is new on a weak beat brings its bass along.
            new = number != sounded
            sounded = number
            if stroke.bass or new:
                yield True, Sound(on, off, _bass(chord, new or stroke.place == 0), BASS_VELOCITY)
            if not stroke.bass or measure.meter.bar is None:
                off = off if measure.meter.bar is None else on + (off - on) * Fraction(3, 4)
                for pitch_class in sorted(set(chord.pitch_classes)):
                    pitch = LOWEST_CHORD + (pitch_class - LOWEST_CHORD) % 12
                    yield False, Sound(on, off, pitch, CHORD_VELOCITY)


def _placed(measure: Measure, changes: Sequence[Fraction]) -> Iterator[tuple[Fraction, Beat]]:
    """The strokes that fall into a bar with their onsets; in free meter, one for every chord until the next."""
    end = measure.onset + measure.length
    if measure.meter.bar is None:
        inside = changes[bisect_right(changes, measure.onset) : bisect_left(changes, end)]
        starts = [measure.onset, *inside] if measure.length else []
        for on, off in zip(starts, [*inside, end], strict=False):
            yield on, Beat(Fraction(0), off - on, True)
        return
    for stroke in pattern(measure.meter):
        on = measure.onset + stroke.place - measure.start
        if measure.onset <= on < end:
            yield on, stroke


def _bass(chord: ChordSymbol, strong: bool) -> int:
    """The chord's own bass on a strong stroke, else its fifth when it has a perfect one."""
    pitch_class = chord.bass
    if not strong and _FIFTH in chord.tones:
        pitch_class = chord.root + _FIFTH
    return LOWEST_BASS + pitch_class % 12
