"""Chord symbols ("G7", "F#m7b5/C"): what they sound, and how they read in another key."""

import re
from dataclasses import dataclass
from functools import lru_cache

from rwkv_music_tokenizers.intervals import Interval
from rwkv_music_tokenizers.keys import SEMITONES

# Longer text is an annotation that lost its mark, not a chord.
LONGEST_SYMBOL = 32

_NAME = r"[A-Ga-g][#b♯♭]?"
_SYMBOL = re.compile(rf"(?P<root>{_NAME})(?P<quality>.*?)(?:/(?P<bass>{_NAME}))?")
_ALTERNATIVE = re.compile(r"\((?=[A-G])[^()]*\)")
_WRAPPED = re.compile(r"\((?P<inner>[^()]*)\)")
_PUNCTUATION = str.maketrans("", "", " (),")
_ACCIDENTAL_SIGNS = str.maketrans("♯♭", "#b")

# How a quality may begin. "-5" and "+5" change a major chord, "add9" and "alt" stand by themselves.
_TRIAD = re.compile(
    r"(?P<major>major|[Mm]aj|ma|M)|(?P<minor>minor|[Mm]in|mi|m|-(?!5))|(?P<diminished>dim|°|o|d)"
    r"|(?P<augmented>aug|\+(?!5)|a(?!dd|lt))|(?P<half>hdim|[øØ])7?|(?P<delta>Δ)7?|"
)
# Its third and fifth (and more), and the seventh that a following 7, 9, 11 or 13 means; None is the bare root.
_TRIADS: dict[str | None, tuple[tuple[int, ...], int]] = {
    None: ((4, 7), 10),
    "major": ((4, 7), 11),
    "minor": ((3, 7), 10),
    "diminished": ((3, 6), 9),
    "augmented": ((4, 8), 10),
    "half": ((3, 6, 10), 10),
    "delta": ((4, 7, 11), 11),
}
_EXTENSION = re.compile(r"6/?9|13|11|9|7|6|5")
# What may follow, as often as it likes: (tones taken away, tones added).
_CHANGES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "maj7": ((10,), (11,)),
    "Maj7": ((10,), (11,)),
    "M7": ((10,), (11,)),
    "sus2": ((3, 4), (2,)),
    "sus4": ((3, 4), (5,)),
    "sus": ((3, 4), (5,)),
    "add2": ((), (14,)),
    "add4": ((), (17,)),
    "add6": ((), (9,)),
    "add9": ((), (14,)),
    "add11": ((), (17,)),
    "add13": ((), (21,)),
    "omit3": ((3, 4), ()),
    "omit5": ((6, 7, 8), ()),
    "no3": ((3, 4), ()),
    "no5": ((6, 7, 8), ()),
    "alt": ((7,), (6, 8, 13, 15)),
    "b5": ((7, 8), (6,)),
    "-5": ((7, 8), (6,)),
    "#5": ((6, 7), (8,)),
    "+5": ((6, 7), (8,)),
    "b9": ((14,), (13,)),
    "-9": ((14,), (13,)),
    "#9": ((14,), (15,)),
    "+9": ((14,), (15,)),
    "#11": ((17,), (18,)),
    "+11": ((17,), (18,)),
    "b13": ((21,), (20,)),
    "-13": ((21,), (20,)),
    "b6": ((), (8,)),
    "+": ((7,), (8,)),
}
_CHANGE = re.compile("|".join(re.escape(name) for name in sorted(_CHANGES, key=len, reverse=True)))


@dataclass(frozen=True)
class ChordSymbol:
    """A chord symbol's sound: `root` and `bass` as pitch classes 0..11 (C is 0), `tones` in semitones above the root."""

    root: int
    # Ascending, from 0 (the root itself); ninths and above lie beyond the octave (14, 17, 21).
    tones: tuple[int, ...]
    # The note after the slash; the root where there is none.
    bass: int

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Every pitch class of the chord without its bass, in the order of `tones`."""
        return tuple((self.root + tone) % 12 for tone in self.tones)


@lru_cache(maxsize=1024)
def parse_chord(text: str) -> ChordSymbol | None:
    """The chord that a symbol names, or None when the text is no chord symbol ("Fine", "^slowly", "N.C.").

    Alternatives in parentheses ("G(Em)") are passed over, a symbol that stands whole in parentheses counts. Lower-case
    roots ("am", "g7") are read as if they were capitals.
    """
    if len(text) > LONGEST_SYMBOL:
        return None
    text = text.strip()
    wrapped = _WRAPPED.fullmatch(text)
    symbol = _SYMBOL.fullmatch(wrapped["inner"] if wrapped else _ALTERNATIVE.sub("", text).strip())
    if symbol is None:
        return None
    tones = _quality_tones(symbol["quality"].translate(_ACCIDENTAL_SIGNS).translate(_PUNCTUATION))
    if tones is None:
        return None
    root = _pitch_class(symbol["root"])
    return ChordSymbol(root, tones, _pitch_class(symbol["bass"]) if symbol["bass"] else root)


def move_chord(text: str, interval: Interval) -> str:
    """A chord symbol's text moved by an interval; text that is no chord symbol comes back as it was."""
    if parse_chord(text) is None:
        return text
    head, *alternatives = re.split(r"(?<=.)(\((?=[A-G]))", text)
    return _move_names(head, interval) + "".join(_move_names(piece, interval) for piece in alternatives)


def _move_names(text: str, interval: Interval) -> str:
    """Moves the name that opens the text (behind blanks and parentheses) and the ones after slashes."""

    def moved(found: re.Match[str]) -> str:
        name = found["name"].translate(_ACCIDENTAL_SIGNS)
        new = interval.name(name[0].upper() + name[1:])
        return found["before"] + (new if name[0].isupper() else new[0].lower() + new[1:])

    return re.sub(rf"(?P<before>^[\s(]*|/)(?P<name>{_NAME})", moved, text)


def _pitch_class(name: str) -> int:
    name = name.translate(_ACCIDENTAL_SIGNS)
    return (SEMITONES[name[0].upper()] + name.count("#") - name[1:].count("b")) % 12


def _quality_tones(quality: str) -> tuple[int, ...] | None:
    """Semitones above the root for what stands behind it, None when that is not a quality."""
    opening = _TRIAD.match(quality)
    assert opening is not None, "the last alternative is empty"
    intervals, seventh = _TRIADS[opening.lastgroup]
    tones = {0, *intervals}
    rest = _extend(tones, quality[opening.end() :], seventh)
    while rest:
        change = _CHANGE.match(rest)
        if change is None:
            return None
        taken, added = _CHANGES[change[0]]
        tones = (tones - set(taken)) | set(added)
        rest = rest[change.end() :]
    return tuple(sorted(tones))


def _extend(tones: set[int], rest: str, seventh: int) -> str:
    """Adds what a 5, 6, 7, 9, 11 or 13 at the head of `rest` means; returns what follows it."""
    found = _EXTENSION.match(rest)
    if found is None:
        return rest
    number = found[0]
    if number == "5":
        tones -= {3, 4}
    elif number == "6":
        tones.add(9)
    elif number in ("69", "6/9"):
        tones |= {9, 14}
    else:
        tones.add(seventh)
        tones |= {tone for tone, name in ((14, 9), (17, 11), (21, 13)) if int(number) >= name}
    return rest[found.end() :]
