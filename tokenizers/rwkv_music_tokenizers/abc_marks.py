"""What single marks of ABC music mean: notes, bar lines and the numbers of endings."""

import re
from functools import lru_cache

from rwkv_music_tokenizers.score import Barline

# The highest pass that an ending can name.
LAST_PASS = 99

NOTE = re.compile(r"(\^{1,2}|_{1,2}|=)?([A-Ga-g])([,']*)(.*)")
ALTERS = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}


@lru_cache(maxsize=4096)
def read_note(text: str) -> tuple[int | None, str, int, str]:
    """A note's written accidental in semitones (None: none), its step, octave and length text."""
    match = NOTE.fullmatch(text)
    assert match is not None
    sign, letter, marks, length = match.groups()
    octave = (5 if letter.islower() else 4) + marks.count("'") - marks.count(",")
    return ALTERS.get(sign), letter.upper(), octave, length


@lru_cache(maxsize=256)
def read_barline(text: str) -> Barline:
    """The bar line that its ABC signs draw."""
    core = text.strip(":")
    if not core:
        return Barline(ends=max(1, len(text) // 2), starts=True)
    ends = len(text) - len(text.lstrip(":"))
    starts = text.endswith(":")
    if core in ("|", "||", "|||") and ends and starts:
        return Barline(ends=ends, starts=True)
    styles = {"|": "single", ".|": "dotted", "[|": "heavy-start", "[|]": "hidden"}
    style = "final" if core.startswith("|") and core.endswith("]") else styles.get(core, "double")
    return Barline(style, ends, starts)


def read_ending(text: str) -> tuple[int, ...]:
    """The passes that an ending's numbers name: "[1,3" is (1, 3), "2-4" is (2, 3, 4)."""
    numbers: set[int] = set()
    for piece in text.lstrip("[").split(","):
        first, *last = (int(number) for number in piece.split("-"))
        numbers.update(range(first, min(last[-1] if last else first, LAST_PASS) + 1))
    return tuple(sorted(number for number in numbers if 0 < number <= LAST_PASS))
