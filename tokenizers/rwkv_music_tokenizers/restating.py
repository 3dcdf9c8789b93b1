"""ABC in which lines of music come back, as verses of songs do: who remembers can foretell what stood far back."""

import re

from rwkv_music_tokenizers.abc_patterns import BODY_FIELD

_KEY = re.compile(r"^K:[^\n]*\n", re.MULTILINE)
_NO_MUSIC = re.compile(rf"(?:{BODY_FIELD}|%)")
# How often lines come back at most, and how many together; the lines of music of the longest tune of which any do.
_TIMES, _TOGETHER, _LONGEST = 2, 3, 64
_BITS = 53


def restate_lines(text: str, choice: float) -> str:
    """One ABC tune in which one to three neighbouring lines of its music stand once more further on; once or twice.

    choice: a number in 0..1, which chooses them and where they come back. Repeats and endings stay as they are written.
    A tune stays the same if its body has fields or comments on lines of their own, no line at all, or more than 64.
    """
    key = _KEY.search(text)
    lines = text[key.end() :].splitlines(keepends=True) if key else []
    if not key or not 0 < len(lines) <= _LONGEST or any(map(_NO_MUSIC.match, lines)):
        return text
    lines[-1] = lines[-1].removesuffix("\n") + "\n"
    digits = _Digits(choice)
    for _ in range(1 + digits.below(_TIMES)):
        start = digits.below(len(lines))
        count = 1 + digits.below(min(_TOGETHER, len(lines) - start))
        behind = start + count + digits.below(len(lines) - start - count + 1)
        lines[behind:behind] = lines[start : start + count]
    return text[: key.end()] + "".join(lines)


class _Digits:
    """Whole numbers that a number in 0..1 is made of, each below a bound of its own, as long as its bits last."""

    def __init__(self, number: float):
        self._left = int(number * 2**_BITS)

    def below(self, bound: int) -> int:
        self._left, digit = divmod(self._left, bound)
        return digit
