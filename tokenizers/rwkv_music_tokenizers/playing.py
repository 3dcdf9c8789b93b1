"""How written notes are played: loudness from beat and dynamics, staccato, grace notes taken from the main note."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.measures import Measure
from rwkv_music_tokenizers.score import Event
from rwkv_music_tokenizers.unfold import PerformedNote

# Loudness of dynamic marks, as MIDI velocity.
DYNAMICS = {"pppp": 26, "ppp": 34, "pp": 44, "p": 56, "mp": 68, "mf": 80, "f": 92, "ff": 104, "fff": 114, "ffff": 122}
# What a decoration adds to the velocity of its note.
STRESSES = {"accent": 14, ">": 14, "emphasis": 14, "sfz": 22, "marcato": 18}
# How much of its length a note sounds.
SHORTENED = {
    "staccato": Fraction(1, 2),
    ".": Fraction(1, 2),
    "wedge": Fraction(1, 3),
    "staccatissimo": Fraction(1, 3),
}
# The longest that one grace note takes, in quarters.
GRACE = Fraction(1, 8)


@dataclass(frozen=True)
class Sound:
    """A key pressed at `on` and released at `off`, both in quarters from the beginning."""

    on: Fraction
    off: Fraction
    pitch: int
    velocity: int


def play(notes: Iterable[PerformedNote], measures: Sequence[Measure], velocity: int, accents: bool) -> list[Sound]:
    """The sounds of one part's notes, given in time order. `velocity` is where no dynamic mark has stood yet.

    With `accents`, the first beat is a little louder than the others, and those than what lies between them.
    """
    chords: dict[tuple[Fraction, int], list[PerformedNote]] = defaultdict(list)
    for note in notes:
        chords[note.onset, id(note.event)].append(note)
    sounds: list[Sound] = []
    for chord in chords.values():
        first = chord[0]
        velocity = next((DYNAMICS[name] for name in first.event.decorations if name in DYNAMICS), velocity)
        loudness = velocity + sum(STRESSES.get(name, 0) for name in first.event.decorations)
        if accents:
            loudness += _accent(measures[first.bar], first.onset)
        loudness = max(1, min(127, loudness))
        stolen = _graces(first, loudness, sounds)
        share = min((SHORTENED[name] for name in first.event.decorations if name in SHORTENED), default=Fraction(1))
        for note in chord:
            on = note.onset + stolen
            sounds.append(Sound(on, on + (note.length - stolen) * share, note.pitch, loudness))
    return sounds


def _accent(measure: Measure, onset: Fraction) -> int:
    place = measure.place(onset)
    if measure.meter.bar is None:
        return 0
    if place % measure.meter.bar == 0:
        return 12
    return 5 if place % measure.meter.beat == 0 else 0


def _graces(note: PerformedNote, loudness: int, sounds: list[Sound]) -> Fraction:
    """Adds the grace notes before `note`; returns the quarters that they take, half the note at most."""
    event: Event = note.event
    if not event.grace:
        return Fraction(0)
    step = min(GRACE, event.length / 2 / len(event.grace))
    for number, grace in enumerate(event.grace):
        on = note.onset + number * step
        for tone in grace.tones:
            sounds.append(Sound(on, on + step, tone.pitch.midi + note.shift, max(1, loudness - 8)))
    return step * len(event.grace)
