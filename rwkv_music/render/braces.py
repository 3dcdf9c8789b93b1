"""Staffs that a brace joins: the two of a piano."""

import re
from collections.abc import Iterator

from music21 import layout, stream

from rwkv_music_tokenizers.score import Score

_BRACE, _NAME = re.compile(r"\{([^{}]*)\}"), re.compile(r"[^\s()\[\]|]+")


def add_braces(sheet: stream.Score, score: Score) -> None:
    """Join the parts of a sheet as the score's %%score or %%staves says (ABC 2.1, 11.1); names of no part say nothing.

    A part has one brace, the first that is told for it.
    """
    free = {part.name: made for part, made in zip(score.parts, list(sheet.parts), strict=True)}
    for names in _braced(score):
        if len(free) < 2:
            return
        joined = [made for name, made in free.items() if name in names]
        if len(joined) > 1:
            free = {name: made for name, made in free.items() if name not in names}
            sheet.insert(0, layout.StaffGroup(joined, symbol="brace", barTogether=True))


def _braced(score: Score) -> Iterator[set[str]]:
    for letter, text in score.fields:
        if letter in ("%%", "I") and text.split(maxsplit=1)[:1] in (["score"], ["staves"]):
            yield from (set(_NAME.findall(inside)) for inside in _BRACE.findall(text))
