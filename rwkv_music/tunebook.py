"""One tune out of a text that may hold many, complete with what the text says for all of them."""

import re
from collections.abc import Iterator
from itertools import pairwise

from rwkv_music.errors import UserError

TUNE_START = re.compile(r"^[ \t]*X:(?![|:])", re.MULTILINE)
FIELD_LINE = re.compile(r"[ \t]*(?:[A-Za-z+]:|%)")
# Fields that a file may hold once for all of its tunes; those of a tune go before them.
SHARED = "CILMOQRU"
# Characters that are copied in all, where every tune of a text gets what is said for all of them.
MOST_COPIED = 16 << 20


def pick_tune(text: str, number: int | None, name: str) -> tuple[str, str]:
    """Tune `number` (from 1; None: the first) of a text, and a remark when there was a choice, else "".

    Raises UserError when there is no such tune; `name` is what the text is called in it.
    """
    common, tunes = _cut(text)
    number = number or 1
    if number > len(tunes):
        raise UserError(f"{name} holds {len(tunes)} tune{'s' * (len(tunes) > 1)}, there is no number {number}")
    remark = f"{name} holds {len(tunes)} tunes; this is number {number} (--tune)" if len(tunes) > 1 else ""
    return _with_common(_compact(tunes[number - 1]), common), remark


def every_tune(text: str) -> Iterator[str]:
    """The tunes of a text in their order, each as `pick_tune` gives it; a text without X: fields is one tune.

    Raises UserError where what is said for all tunes is so long that their text would grow beyond measure.
    """
    common, tunes = _cut(text)
    length = sum(map(len, common))
    if length * len(tunes) > MOST_COPIED:
        raise UserError(f"{length:,} characters stand before {len(tunes):,} tunes, each of which would get them")
    return (_with_common(_compact(tune), common) for tune in tunes)


def _cut(text: str) -> tuple[list[str], list[str]]:
    """The lines in which a text says something for all of its tunes, and the tunes."""
    starts = [match.start() for match in TUNE_START.finditer(text)]
    common = text[: starts[0]] if starts else ""
    if not starts or re.search(r"^K:", common, re.MULTILINE):
        starts.insert(0, 0)
        common = ""
    lines = [line for line in common.split("\n") if line.startswith("%%") or (line[:1] in SHARED and line[1:2] == ":")]
    return lines, [text[begin:end] for begin, end in pairwise([*starts, len(text)])]


def _compact(tune: str) -> str:
    """A tune without its empty lines, nor the free text that follows the music after one."""
    kept: list[str] = []
    in_body = emptied = False
    for line in tune.strip().split("\n"):
        if not line.strip():
            emptied = in_body
            continue
        if emptied and not FIELD_LINE.match(line) and "|" not in line:
            break
        emptied = False
        in_body = in_body or line.lstrip(" \t").startswith("K:")
        kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _with_common(tune: str, common: list[str]) -> str:
    first, newline, rest = tune.partition("\n")
    header = re.split(r"^K:", rest, maxsplit=1, flags=re.MULTILINE)[0]
    said = {line[:2] for line in header.split("\n")}
    shared = [f"{line}\n" for line in common if line.startswith("%%") or line[:2] not in said]
    return first + newline + "".join(shared) + rest
