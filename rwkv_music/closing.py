"""How a tune comes to its end: a last bar that was cut off goes, and a final bar line stands."""

from collections.abc import Sequence

from rwkv_music.hearing import SOUNDING
from rwkv_music_tokenizers.abc_lexer import Token, lex


def close_tune(text: str, start: int, *, complete: bool) -> str:
    """A tune ready to be read: ABC that ends with a final bar line (":|" where a repeat is open) and a newline.

    New music begins at offset `start`; all before it stays. Unless the last bar is `complete`, as the model meant it
    or full, what follows the last bar line goes.
    """
    return _with_final_line(text if complete else _without_cut_off_bar(text, start), start)


def _without_cut_off_bar(text: str, start: int) -> str:
    tokens = lex(text)
    lines = [place for place, token in enumerate(tokens) if token.kind == "bar"]
    sounding = _sounding(tokens[lines[-1] :] if lines else tokens)
    if not sounding:
        return text
    # The prompt all stays, also the notes of a bar that the model did not finish.
    return text[:start] if not lines or sounding[0].start < start else text[: max(start, tokens[lines[-1]].end)]


def _with_final_line(text: str, start: int) -> str:
    tokens = lex(text)
    lines = [place for place, token in enumerate(tokens) if token.kind == "bar"]
    if _sounding(tokens[lines[-1] :] if lines else tokens):
        return text.rstrip() + (":|" if _repeat_open([tokens[place] for place in lines]) else "|]") + "\n"
    if not lines:
        return text.rstrip() + "\n"
    # Of several lines with no music in between, only the first counts.
    while len(lines) > 1 and not _sounding(tokens[lines[-2] : lines[-1]]):
        lines.pop()
    last = tokens[lines[-1]]
    ends = last.text.startswith(":") or _repeat_open([tokens[place] for place in lines[:-1]])
    kept = text[last.end : start] if last.end < start else ""
    return (text[: last.start] + (":|" if ends else "|]") + kept).rstrip() + "\n"


def _sounding(tokens: Sequence[Token]) -> list[Token]:
    return [token for token in tokens if token.kind in SOUNDING]


def _repeat_open(lines: Sequence[Token]) -> bool:
    """After these bar lines a repeat has begun that nothing has ended."""
    is_open = False
    for line in lines:
        is_open = line.text.endswith(":") or (is_open and line.text == "|")
    return is_open
