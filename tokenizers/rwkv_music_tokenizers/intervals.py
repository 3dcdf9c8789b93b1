"""Intervals that keep their spelling: how far a note, a pitch or a key moves on the staff and in sound.

A place on the staff is a degree: 7 * octave + step, so middle C is 28 and the D above it 29.
"""

from dataclasses import dataclass, replace

from rwkv_music_tokenizers.keys import SEMITONES, STEPS, Key, Pitch

# The widest transposition: five octaves.
WIDEST = 60
# A signature with more sharps or flats than this is written enharmonically.
FULLEST_SIGNATURE = 6
# Highland pipes: the keys HP and Hp name no tonic; their two sharps are those of this one.
PIPE_KEY = Key("A", "mixolydian")

_NATURALS = tuple(SEMITONES[step] for step in STEPS)


def natural(degree: int) -> int:
    """Semitones from the C of octave 0 to a degree without accidental."""
    return 12 * (degree // 7) + _NATURALS[degree % 7]


def respelled(degree: int, alter: int, most: int) -> tuple[int, int]:
    """The same sound on the nearest degree that needs at most `most` sharps or flats."""
    while abs(alter) > most:
        neighbour = degree + (1 if alter > 0 else -1)
        alter += natural(degree) - natural(neighbour)
        degree = neighbour
    return degree, alter


@dataclass(frozen=True)
class Interval:
    """A move by `steps` degrees that sounds `semitones` higher; both may be negative."""

    steps: int
    semitones: int

    @property
    def is_octave(self) -> bool:
        """A whole number of octaves, or none: names and keys stay."""
        return not (self.steps % 7 or self.semitones % 12)

    def shift(self, degree: int, alter: int) -> tuple[int, int]:
        """The degree and alteration exactly this interval away, however many accidentals that takes."""
        moved = degree + self.steps
        return moved, natural(degree) + alter + self.semitones - natural(moved)

    def move(self, degree: int, alter: int) -> tuple[int, int]:
        """Like `shift`, but respelled on a neighbouring degree where a double accidental would be new."""
        return respelled(*self.shift(degree, alter), max(1, abs(alter)))

    def pitch(self, pitch: Pitch) -> Pitch:
        """A pitch moved by this interval."""
        degree, alter = self.move(7 * pitch.octave + STEPS.index(pitch.step), pitch.alter)
        return Pitch(STEPS[degree % 7], alter, degree // 7)

    def name(self, name: str) -> str:
        """A note name ("F#", "Bb") moved by this interval."""
        degree, alter = self.move(STEPS.index(name[0]), name.count("#") - name.count("b"))
        return STEPS[degree % 7] + accidentals(alter)

    def key(self, key: Key) -> Key:
        """A key moved by this interval; extra accidentals that would be more than double are left out."""
        if self.is_octave:
            return key
        if key.pipes:
            return replace(self.key(PIPE_KEY), properties=key.properties)
        moved = (self.shift(STEPS.index(step), alter) for step, alter in key.extra)
        extra = tuple((STEPS[degree % 7], alter) for degree, alter in moved if abs(alter) <= 2)
        tonic = ""
        if key.tonic:
            degree, alter = self.shift(STEPS.index(key.tonic[0]), key.tonic.count("#") - key.tonic.count("b"))
            tonic = STEPS[degree % 7] + accidentals(alter)
        return replace(key, tonic=tonic, extra=extra)


def accidentals(alter: int) -> str:
    """An alteration as it is written behind a note name: "#", "bb", ""."""
    return "#" * alter if alter > 0 else "b" * -alter


def signature_size(key: Key) -> int:
    """Sharps (positive) or flats (negative) of a key; for one without a mode's own, those of its explicit accidentals."""
    if key.pipes or (key.tonic and not key.explicit):
        return key.fifths
    return sum(alter for _, alter in key.extra)


def interval_from(key: Key, semitones: int) -> Interval:
    """The interval of that many semitones that leads from `key` to the key with the fewest sharps or flats.

    Where six sharps and six flats are the choice, flats stay flats and everything else becomes sharps. A move by whole
    octaves keeps the key. Raises ValueError when `semitones` is not in -60..60.
    """
    if not -WIDEST <= semitones <= WIDEST:
        raise ValueError(f"semitones must be in range -{WIDEST}..{WIDEST}, not {semitones}")
    fifths = signature_size(key)
    leap = 0
    if semitones % 12:
        sharpest_first = range(FULLEST_SIGNATURE, -FULLEST_SIGNATURE - 1, -1)
        order = sharpest_first if fifths >= 0 else reversed(sharpest_first)
        reachable = [size for size in order if (size - fifths - 7 * semitones) % 12 == 0]
        leap = min(reachable, key=abs) - fifths
    # A fifth up is 4 degrees and 7 semitones, an octave 7 and 12.
    octaves = (semitones - 7 * leap) // 12
    return Interval(4 * leap + 7 * octaves, semitones)
