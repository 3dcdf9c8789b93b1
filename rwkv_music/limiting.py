"""What new music is kept to, as a person says it: a range, a scale, instruments, voices."""

import re

from rwkv_music.errors import UsageError
from rwkv_music.instruments import read_instruments
from rwkv_music_tokenizers.abc_fields import read_key
from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.keys import SEMITONES, Key

PITCH = re.compile(r"([A-Ga-g])([#b]?)(-?[0-9])")
RANGE = re.compile(r"([A-Ga-g][#b]?-?[0-9]|[0-9]{1,3})-([A-Ga-g][#b]?-?[0-9]|[0-9]{1,3})")


def read_limits(
    compass: str = "", scale: str = "", only: str = "", *, drums: bool = True, polyphony: int | None = None
) -> Limits:
    """The limits of two pitches ("C3-C6", "48-84"), a key ("D", "Edor"), names of instruments and a number of notes.

    Raises UsageError for what is no range, scale or number of notes, UserError for names of no instrument.
    """
    lowest, highest = _range(compass) if compass else (0, 127)
    if polyphony is not None and polyphony < 1:
        raise UsageError(f"--polyphony is the most notes at once, 1 or more, not {polyphony}")
    programs = read_instruments(only)[1] if only else ()
    return Limits(
        lowest,
        highest,
        _classes(scale) if scale else frozenset(),
        frozenset(program for program in programs if program is not None),
        drums=drums and (not only or None in programs),
        polyphony=polyphony or 0,
    )


def _range(text: str) -> tuple[int, int]:
    found = RANGE.fullmatch(text.strip())
    low, high = (pitch_of(found[1]), pitch_of(found[2])) if found else (1, 0)
    if not 0 <= low <= high <= 127 or high - low < 11:
        raise UsageError(f"--range takes two pitches at least an octave apart, as C3-C6 or 48-84, not {text!r}")
    return low, high


def pitch_of(text: str) -> int:
    """A pitch as a number: "60" and "C4" are 60. Raises ValueError for what is none."""
    if text.isdecimal():
        return int(text)
    found = PITCH.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no pitch")
    return 12 * (int(found[3]) + 1) + SEMITONES[found[1].upper()] + {"#": 1, "b": -1, "": 0}[found[2]]


def _classes(text: str) -> frozenset[int]:
    key = read_key(text)
    if key is None or not key.tonic:
        raise UsageError(f"--scale takes a key (D, Am, Edor, ...), not {text!r}")
    return scale_of(key)


def scale_of(key: Key) -> frozenset[int]:
    """The pitch classes of a key's seven notes."""
    return frozenset((number + key.alter(step)) % 12 for step, number in SEMITONES.items())
