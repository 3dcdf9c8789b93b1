"""The values that are written into fields and quotes, and how each may go on: keys, meters, chord symbols, ..."""

from collections.abc import Iterable
from functools import lru_cache

from rwkv_music_tokenizers.abc_fields import read_key

# Signatures that are written: so many sharps or flats.
MOST_FIFTHS = 7
MODES = ("", "m", "maj", "min", "ion", "dor", "phr", "lyd", "mix", "aeo", "loc")
METERS_BELOW = (1, 2, 4, 8, 16, 32)
MOST_BEATS = 32
# Bounds of a bar, in 32nds.
SHORTEST_BAR, LONGEST_BAR = 4, 256
UNITS = tuple(f"1/{1 << number}" for number in range(7))
BEATS = ("1/8", "3/8", "1/4", "3/4", "1/2", "3/2", "1/16", "3/16")
TEMPI = range(20, 321)
SECTIONS, SECTION_BARS, LIKENESS = range(1, 9), range(1, 33), range(11)
# What programs that play chord symbols know, after a root.
QUALITIES = (
    *("", "m", "7", "m7", "maj7", "M7", "6", "m6", "9", "m9", "maj9", "11", "5"),
    *("dim", "dim7", "aug", "+", "sus", "sus2", "sus4", "7sus4", "m7b5"),
)
NAMES = tuple(letter + sign for letter in "ABCDEFG" for sign in ("", "#", "b"))
DECORATIONS = (
    *("trill", "lowermordent", "uppermordent", "mordent", "pralltriller", "roll", "turn", "arpeggio", "accent"),
    *("emphasis", "fermata", "invertedfermata", "tenuto", "staccato", "upbow", "downbow", "breath", "wedge", "slide"),
    *("open", "thumb", "snap", "segno", "coda", "D.C.", "D.S.", "fine", "pppp", "ppp", "pp", "p", "mp", "mf"),
    *("f", "ff", "fff", "ffff", "sfz", "crescendo(", "crescendo)", "diminuendo(", "diminuendo)", "<(", "<)"),
    *(">(", ">)", ">", "+", "0", "1", "2", "3", "4", "5"),
)


@lru_cache(maxsize=32)
def values(name: str) -> dict[str, frozenset[str]]:
    """What may follow each beginning of a value of a field or quote; "" among it where the value is complete."""
    found: dict[str, set[str]] = {}
    for value in _all(name):
        for end in range(len(value)):
            found.setdefault(value[:end], set()).add(value[end])
        found.setdefault(value, set()).add("")
    return {beginning: frozenset(signs) for beginning, signs in found.items()}


def _all(name: str) -> Iterable[str]:
    if name == "K":
        keys = (tonic + mode for tonic in NAMES for mode in MODES)
        return [*(text for text in keys if (key := read_key(text)) and abs(key.fifths) <= MOST_FIFTHS), "none", "HP"]
    if name in ("M", "eighths"):
        bars = ((above, below) for below in METERS_BELOW for above in range(1, MOST_BEATS + 1))
        fits = (pair for pair in bars if SHORTEST_BAR <= 32 * pair[0] // pair[1] <= LONGEST_BAR)
        if name == "eighths":
            # Meters whose bars are whole eighths.
            fits = (pair for pair in fits if 8 * pair[0] % pair[1] == 0)
        return [*(f"{above}/{below}" for above, below in fits), "C", "C|", "none"]
    if name == "L":
        return UNITS
    if name == "Q":
        return [f"{beat}={tempo}" for beat in BEATS for tempo in TEMPI]
    if name == "chord":
        return [root + quality for root in NAMES for quality in QUALITIES]
    if name == "bass":
        return NAMES
    if name == "name":
        return DECORATIONS
    return map(str, {"S": SECTIONS, "B": SECTION_BARS, "E": LIKENESS, "X": range(1, 1000)}[name])


def after(name: str, beginning: str) -> frozenset[str]:
    """What may follow the beginning of a value; nothing where it is none."""
    found = values(name).get(beginning, frozenset())
    root, slash, bass = beginning.partition("/")
    if name != "chord":
        return found
    if slash:
        return values("bass").get(bass, frozenset()) if "" in values(name).get(root, ()) else frozenset()
    return found | {"/"} if "" in found else found
