"""Staffs: what the clef, octave and transposition properties of ABC's K: and V: fields do to written pitches."""

import re
from dataclasses import dataclass, replace

CLEFS = ("treble", "bass", "alto", "tenor", "perc", "none")
# The letters that some sources write for a clef.
CLEF_LETTERS = {"G": "treble", "F": "bass", "C": "alto", "P": "perc"}
MAX_OCTAVES = 4
MAX_TRANSPOSE = 60

_PROPERTY = re.compile(r'([A-Za-z]+)=("[^"]*"|\S+)|(\S+)')
_CLEF = re.compile(r"(treble|bass|alto|tenor|perc|none|[GFCP])([1-5]?)([+-](?:8|15))?(?:[\^_](?:8|15))?")
_SHIFTS = {"8": 1, "15": 2}
_INTEGER = re.compile(r"[+-]?\d{1,3}")


@dataclass(frozen=True)
class Staff:
    """How one voice is written: clef name, its line (0: the usual one), octaves it shifts, and sound-only semitones."""

    clef: str = "treble"
    line: int = 0
    # Octaves by which the clef itself moves the sound ("treble-8" is -1).
    clef_octaves: int = 0
    # Octaves of the octave= property.
    octaves: int = 0
    # Semitones of the transpose= property: heard, never seen.
    transpose: int = 0

    @property
    def written_shift(self) -> int:
        """Semitones from the pitch letters to the pitches that the sheet means."""
        return 12 * (self.clef_octaves + self.octaves)

    @property
    def sounding_shift(self) -> int:
        """Semitones from the pitch letters to what is heard."""
        return self.written_shift + self.transpose


def properties(text: str) -> dict[str, str]:
    """The name=value pairs of a K: or V: field, names in lower case, quotes taken off; bare words map to ""."""
    found: dict[str, str] = {}
    for name, value, word in _PROPERTY.findall(text):
        if name:
            found[name.lower()] = value.strip('"')
        else:
            found.setdefault(word, "")
    return found


def read_staff(text: str, before: Staff) -> Staff:
    """`before` with whatever the properties in `text` change; properties that say nothing sensible are passed over."""
    found = properties(text)
    staff = before
    clef = found.get("clef") or next((word for word, value in found.items() if not value and _CLEF.fullmatch(word)), "")
    match = _CLEF.fullmatch(clef)
    if match:
        name, line, shift = match.groups()
        octaves = 0 if not shift else _SHIFTS[shift[1:]] * (1 if shift[0] == "+" else -1)
        name = CLEF_LETTERS.get(name, name)
        staff = replace(staff, clef=name, line=int(line or 0), clef_octaves=octaves)
    octaves = _integer(found.get("octave"), MAX_OCTAVES)
    if octaves is not None:
        staff = replace(staff, octaves=octaves)
    transpose = _integer(found.get("transpose", found.get("t")), MAX_TRANSPOSE)
    if transpose is not None:
        staff = replace(staff, transpose=transpose)
    return staff


def _integer(text: str | None, limit: int) -> int | None:
    if text is None or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if abs(number) <= limit else None
