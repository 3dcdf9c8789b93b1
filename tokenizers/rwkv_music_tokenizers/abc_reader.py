"""ABC text to scores: finds the tunes in a text, reads their headers and bodies, and tells what was odd.

The reader follows the ABC standard 2.1 and goes on after mistakes with a warning. Where the standard leaves a choice:
an accidental holds for its note in all octaves up to the bar line (the standard's default; %%propagate-accidentals
changes it), and a note tied over a bar line keeps its accidental.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rwkv_music_tokenizers.abc_body import finished_score, read_body
from rwkv_music_tokenizers.abc_header import Header, read_header
from rwkv_music_tokenizers.abc_lexer import Token, lex
from rwkv_music_tokenizers.abc_music import Music
from rwkv_music_tokenizers.errors import NotationError, NotationWarning, Place
from rwkv_music_tokenizers.score import Score

LONGEST_TUNE = 2_000_000
LONGEST_TUNEBOOK = 20_000_000
# Notes, bar lines and other signs in one tune.
MOST_SIGNS = 500_000

LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n|\Z)")
FIELD_LINE = re.compile(r"[ \t]*(?:[A-Za-z+]:|%%)")


def read_abc(text: str) -> Score:
    """Read one tune; of several, the first.

    Raises NotationError when the text cannot be one tune: binary, too long, or without any music.
    """
    _check(text, LONGEST_TUNE)
    common, tunes = _split(text)
    score = _read_tune(common, tunes[0])
    if len(tunes) == 1:
        return score
    warning = NotationWarning(f"the text holds {len(tunes)} tunes; only the first is read", Place(tunes[1][0], 1))
    return replace(score, warnings=(*score.warnings, warning))


def read_tunebook(text: str) -> list[Score]:
    """Read every tune of a tunebook. Tunes that cannot be read are left out, with a warning on the first that can.

    Raises NotationError when there is none.
    """
    _check(text, LONGEST_TUNEBOOK)
    common, tunes = _split(text)
    scores, lost = [], []
    for tune in tunes:
        try:
            scores.append(_read_tune(common, tune))
        except NotationError as error:
            lost.append(error)
    if not scores:
        raise lost[0]
    warnings = tuple(
        NotationWarning(f"a tune is left out: {error.message}", error.place or Place(1, 1)) for error in lost
    )
    scores[0] = replace(scores[0], warnings=scores[0].warnings + warnings)
    return scores


def _check(text: str, longest: int) -> None:
    if len(text) > longest:
        raise NotationError(f"the text has {len(text)} characters; at most {longest} can be read")
    if "\0" in text:
        place = text.index("\0")
        line = text.count("\n", 0, place) + 1
        raise NotationError("this is binary data, not ABC text", Place(line, place - text.rfind("\n", 0, place)))


def _split(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The header that all tunes share, and each tune as (number of its first line, text)."""
    lines = [match[0] for match in LINE.finditer(text.removeprefix("\ufeff")) if match[0]]
    starts = [number for number, line in enumerate(lines) if line.lstrip(" \t").startswith("X:") and line[-4:] != "X:|"]
    starts = [number for number in starts if not re.match(r"\s*X:[|:]", lines[number])]
    before = lines[: starts[0]] if starts else lines
    if not starts or any(line.lstrip(" \t").startswith("K:") for line in before):
        starts.insert(0, 0)
        before = []
    common = "".join(line for line in before if FIELD_LINE.match(line))
    ends = [*starts[1:], len(lines)]
    return common, [(start + 1, _tune(lines[start:end])) for start, end in zip(starts, ends, strict=True)]


def _tune(lines: list[str]) -> str:
    """The lines of one tune without the free text that follows it after an empty line."""
    in_body = in_music = False
    gap: int | None = None
    for number, line in enumerate(lines):
        if not line.strip():
            gap = number if in_music and gap is None else gap
            continue
        is_field = FIELD_LINE.match(line) is not None
        if gap is not None and not is_field and "|" not in line:
            return "".join(lines[:gap])
        gap = None
        in_music = in_body and (in_music or not is_field)
        in_body = in_body or line.lstrip(" \t").startswith("K:")
    return "".join(lines)


def _read_tune(common: str, tune: tuple[int, str]) -> Score:
    first_line, text = tune
    if len(text) > LONGEST_TUNE:
        raise NotationError(
            f"a tune has {len(text)} characters; at most {LONGEST_TUNE} can be read", Place(first_line, 1)
        )
    header = Header()
    if common:
        read_header(header, list(join_fields(lex(common))))
    tokens = list(join_fields(lex(text, first_line)))
    if len(tokens) > MOST_SIGNS:
        raise NotationError(f"a tune has more than {MOST_SIGNS} signs", tokens[MOST_SIGNS].place)
    start = read_header(header, tokens)
    music = Music(header)
    if start < len(tokens):
        read_body(music, tokens[start:])
    score = finished_score(music)
    if not score.parts:
        raise NotationError("no music here: ABC needs notes after its header (K: ends it)", Place(first_line, 1))
    return score


def join_fields(tokens: Iterable[Token]) -> Iterator[Token]:
    """The tokens, each field joined with the lines that continue it."""
    field: Token | None = None
    more: list[str] = []
    for token in tokens:
        if field is None:
            if token.kind == "field":
                field, more = token, []
            else:
                yield token
        elif _continues(token, field, more):
            more.append(token.text[2:] if token.kind == "field" else token.text)
        elif token.kind not in ("newline", "comment", "space"):
            yield _joined(field, more)
            field, more = (token, []) if token.kind == "field" else (None, [])
            if field is None:
                yield token
    if field is not None:
        yield _joined(field, more)


def _continues(token: Token, field: Token, more: list[str]) -> bool:
    """A "+:" line, the next line of the same letter after a backslash, or a line of H: without a letter."""
    if token.kind == "text":
        return field.text[0] == "H"
    if token.kind != "field":
        return False
    last = more[-1] if more else field.text
    return token.text.startswith("+:") or (token.text[0] == field.text[0] and last.rstrip().endswith("\\"))


def _joined(field: Token, more: list[str]) -> Token:
    if not more:
        return field
    lines = (line.strip().removesuffix("\\").rstrip() for line in (field.text, *more))
    return field._replace(text=" ".join(lines))
