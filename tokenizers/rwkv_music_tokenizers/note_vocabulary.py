"""The 896 tokens of notes: their names, where each field begins, and the values that they stand for."""

import hashlib
from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A quarter on the grid; a unit of the performed clock is 10 ms.
QUARTER = 24
SIZE = 896

KINDS = ("piano", "strings", "song", "tune", "ensemble", "drums", "other")
# Every meter of quarters, eighths, sixteenths and so on whose bar is at most 8 quarters, by denominator.
METERS = tuple((n, d) for d in (1, 2, 4, 8, 16) for n in range(1, 2 * d + 1)) + ((1, 32), (3, 32))
# Quarters a minute: the marks of metronomes, a twentieth apart, carried on at both ends, and three more in common use.
# fmt: off
TEMPOS = (
    20, 21, 22, 23, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 63, 66, 69, 72, 76, 80,
    84, 88, 90, 92, 96, 100, 104, 108, 112, 116, 120, 126, 132, 138, 140, 144, 152, 160, 168, 176, 180, 184, 192, 200,
    208, 216, 224, 232, 240, 252, 264, 276, 288, 304, 320,
)
# fmt: on
# By fifths, -7..7.
_MAJORS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINORS = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")
_LENGTHS = (*range(1, 49), *range(52, 97, 4), *range(108, 193, 12), *range(216, 385, 24), *range(480, 769, 96))
_SPECIALS = ("<pad>", "<bos>", "<eos>", "<sep>", "<mask>", "<fill>", "</fill>", "<grid>", "<perf>")
_FREE = "<free{}>".format

_FIELDS = (
    [*_SPECIALS, *map(_FREE, range(len(_SPECIALS), 16))],
    [f"kind:{kind}" for kind in (*KINDS, *range(len(KINDS), 16))],
    ["bar"],
    [f"meter:{n}/{d}" for n, d in METERS],
    [f"tempo:{tempo}" for tempo in TEMPOS],
    [f"key:{key}" for key in (*_MAJORS, *_MINORS, "none")],
    [f"part:{part}" for part in range(16)],
    [f"program:{program}" for program in (*range(128), "drums")],
    [f"time:{time}" for time in range(192)],
    [f"pitch:{pitch}" for pitch in range(128)],
    [f"drum:{drum}" for drum in range(128)],
    [f"velocity:{velocity}" for velocity in range(16)],
    [f"length:{length}" for length in _LENGTHS],
    ["pedal:down", "pedal:up"],
)
_COUNTS = [len(field) for field in _FIELDS]
# The first id of every field.
SPECIAL, KIND, BAR, METER, TEMPO, KEY, PART, PROGRAM, TIME, PITCH, DRUM, VELOCITY, LENGTH, PEDAL, FREE = (
    sum(_COUNTS[:field]) for field in range(len(_FIELDS) + 1)
)
PAD, BOS, EOS, SEP, MASK, FILL, FILL_END, GRID, PERF = range(len(_SPECIALS))
NO_KEY = KEY + 30
DRUMS = PROGRAM + 128
PEDAL_DOWN, PEDAL_UP = PEDAL, PEDAL + 1
NAMES = tuple(name for field in _FIELDS for name in field) + tuple(map(_FREE, range(FREE, SIZE)))

_ALL = (*_COUNTS, SIZE - FREE)
# (V,): the first id of each token's field, and its place in the field.
_STARTS = [SPECIAL, KIND, BAR, METER, TEMPO, KEY, PART, PROGRAM, TIME, PITCH, DRUM, VELOCITY, LENGTH, PEDAL, FREE]
FIELD = np.repeat(_STARTS, _ALL)
PLACE = np.arange(SIZE) - FIELD

# (64,): bars in units of the grid; tempos in microseconds a quarter.
METER_UNITS = np.array([4 * QUARTER * n // d for n, d in METERS])
TEMPO_MICROSECONDS = np.round(60e6 / np.array(TEMPOS)).astype(np.int64)
# (80,): lengths in units, and (769,): the nearest of them for every number of units, of two equally near the shorter.
LENGTH_UNITS = np.array(_LENGTHS)
LONGEST = _LENGTHS[-1]
NEAREST_LENGTH = np.searchsorted((LENGTH_UNITS[:-1] + LENGTH_UNITS[1:]) / 2, np.arange(LONGEST + 1))
# A stroke on a drum has no length of its own; it is written out as a sixteenth.
STROKE = QUARTER // 4
# The velocity every part begins with (64..71), and what a token of velocity stands for.
FIRST_VELOCITY = 8
VELOCITIES = 8 * np.arange(16) + 4

# Slow to fast, so falling in microseconds and rising once negative.
_TEMPO_BORDERS = (-np.sqrt(TEMPO_MICROSECONDS[:-1] * TEMPO_MICROSECONDS[1:])).tolist()
# Circle of fifths: C, G, D ... for every semitone up.
_FIFTHS_OF_SEMITONE = 7


def nearest_tempo(microseconds: int) -> int:
    """The place 0..63 of the tempo nearest in proportion to one in microseconds a quarter."""
    return bisect_left(_TEMPO_BORDERS, -microseconds)


def key_place(fifths: int, minor: int) -> int:
    """The place among the keys of a signature; of more than seven sharps or flats there is none, so it gets seven."""
    return min(max(fifths, -7), 7) + (22 if minor else 7)


@cache
def transposition(semitones: int) -> np.ndarray:
    """(V,) uint16: what every token becomes so many semitones higher; 0 where a pitch would leave 0..127.

    Keys turn on the circle of fifths and come out with at most six flats or sharps (Gb, not F#: -6..5 fifths).
    """
    table = np.arange(SIZE, dtype=np.uint16)
    moved = np.arange(128) + semitones
    table[PITCH : PITCH + 128] = np.where((moved >= 0) & (moved < 128), PITCH + moved, PAD)
    if semitones % 12:
        fifths = (np.arange(-7, 8) + _FIFTHS_OF_SEMITONE * semitones + 6) % 12 - 6
        table[KEY:NO_KEY] = KEY + np.concatenate([fifths + 7, fifths + 22])
    table.flags.writeable = False
    return table


@cache
def word_tokenizer() -> "Tokenizer":
    """The vocabulary as an object of the `tokenizers` library: words between blanks."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer = Tokenizer(WordLevel({name: token for token, name in enumerate(NAMES)}))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return tokenizer


@cache
def vocabulary_sha256() -> str:
    """The sha256 of all names in order, a line each: what a model's file records of the vocabulary that it knows."""
    return hashlib.sha256("\n".join(NAMES).encode()).hexdigest()
