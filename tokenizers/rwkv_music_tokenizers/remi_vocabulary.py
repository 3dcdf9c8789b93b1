"""The 427 words of RWKV-Runner's REMI, as MidiTok's settings give them: the same by rule, without MidiTok."""

from collections.abc import Iterable

import numpy as np

PAD, BOS, EOS, MASK, BAR = range(5)
# The first id of each kind of word.
PITCH, VELOCITY, DURATION, POSITION, DRUM, CHORD, PROGRAM, SIZE = 5, 94, 126, 190, 222, 284, 298, 427
# The pitches of the first word of a pitch and of a drum.
LOWEST, LOWEST_DRUM = 21, 27
# Positions of a bar, which is 4/4, and of a quarter.
BAR_UNITS, QUARTER = 32, 8
# By program: 0..127, and last the drums.
DRUMS = 128
# Lengths that there are words for, in positions: every one below a bar, every second one up to three.
DURATIONS = np.array([*range(1, 32), *range(32, 97, 2)])
# What makes a chord: steps above the first note, in semitones.
CHORDS = {
    "min": (0, 3, 7),
    "maj": (0, 4, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "7dom": (0, 4, 7, 10),
    "7min": (0, 3, 7, 10),
    "7maj": (0, 4, 7, 11),
    "7halfdim": (0, 3, 6, 10),
    "7dim": (0, 3, 6, 9),
    "7aug": (0, 4, 8, 11),
    "9maj": (0, 4, 7, 10, 14),
    "9min": (0, 4, 7, 10, 13),
}


def _length_word(units: int) -> str:
    """A length as MidiTok names it: quarters, parts of a quarter, and of how many."""
    parts = 8 if units < BAR_UNITS else 4
    return f"Duration_{units // 8}.{units % 8 * parts // 8}.{parts}"


WORDS = (
    *("PAD_None", "BOS_None", "EOS_None", "MASK_None", "Bar_None"),
    *(f"Pitch_{LOWEST + place}" for place in range(VELOCITY - PITCH)),
    *(f"Velocity_{4 * place + 3}" for place in range(DURATION - VELOCITY)),
    *map(_length_word, DURATIONS.tolist()),
    *(f"Position_{place}" for place in range(BAR_UNITS)),
    *(f"PitchDrum_{LOWEST_DRUM + place}" for place in range(CHORD - DRUM)),
    *(f"Chord_{name}" for name in CHORDS),
    *(f"Program_{number}" for number in (*range(DRUMS), -1)),
)
_IDS = {word: number for number, word in enumerate(WORDS)}


def remi_text(ids: Iterable[int]) -> str:
    """The words of ids, with spaces between them."""
    return " ".join(WORDS[number] for number in ids)


def remi_ids(text: str) -> list[int]:
    """The ids of words. Raises ValueError for a word that is none."""
    words = text.split()
    for word in words:
        if word not in _IDS:
            raise ValueError(f"{word[:40]!r} is no word of REMI; expected some like Bar_None, Position_0, Pitch_60")
    return [_IDS[word] for word in words]
