"""How a tune comes to its end: a last bar that was cut off goes, and a final bar line stands."""

from collections.abc import Sequence

from rwkv_music.counting import BarCount
from rwkv_music.hearing import SOUNDING
from rwkv_music.opening import TRAILING
from rwkv_music_tokenizers.abc_lexer import Token, lex

# Bars of a phrase: a section of whole phrases is worth repeating.
PHRASE = 4


def close_tune(text: str, start: int, *, complete: bool) -> str:
    """A tune ready to be read: ABC that ends with a final bar line and a newline.

    New music begins at offset `start`; all before it stays. Unless the last bar is `complete`, as the model meant it
    or full, what follows the last bar line goes. An open repeat is ended by ":|" where the prompt has begun it or its
    section has 4, 8, 12 ... bars; else the tune ends with "|]", and the repeat sign in the new music goes. A first
    ending that no second one follows loses its number.
    """
    closed = _with_final_line(text if complete else _without_cut_off_bar(text, start), start)
    return _without_lone_ending(closed, start)


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
        end = next(token.end for token in reversed(tokens) if token.kind not in TRAILING)
        return _ended(text[:end], tokens, start, text[end:])
    if not lines:
        return text.rstrip() + "\n"
    # Of several lines with no music in between, only the first counts.
    while len(lines) > 1 and not _sounding(tokens[lines[-2] : lines[-1]]):
        lines.pop()
    last = tokens[lines[-1]]
    kept = text[last.end : start] if last.end < start else ""
    if last.text.startswith(":"):
        return (text[: last.start] + ":|" + kept).rstrip() + "\n"
    return _ended(text[: last.start], tokens[: lines[-1]], start, kept)


def _ended(text: str, tokens: Sequence[Token], start: int, kept: str = "") -> str:
    """`text`, the tune that `tokens` make, no line at its end yet, with its final line and `kept` after it."""
    opening = _open_repeat(tokens)
    if opening is None:
        return (text + "|]" + kept).rstrip() + "\n"
    opens = tokens[opening]
    if opens.start < start or _whole_phrases(text):
        return (text + ":|" + kept).rstrip() + "\n"
    # What is left of "::" is the end of the repeat before; at the start of a line "|:" leaves nothing.
    left = ":|" if opens.text.startswith(":") else "" if text[: opens.start].endswith("\n") else "|"
    return (text[: opens.start] + left + text[opens.end :] + "|]" + kept).rstrip() + "\n"


def _without_lone_ending(text: str, start: int) -> str:
    signs = [token for token in lex(text) if token.kind in ("bar", "ending")]
    place = next((place for place in reversed(range(len(signs))) if signs[place].kind == "ending"), None)
    if place is None or signs[place].start < start or signs[place].text.lstrip("[") != "1":
        return text
    *inside, last = signs[place:]
    if not last.text.startswith(":") or any(token.text != "|" for token in inside[1:]):
        return text
    return text[: signs[place].start] + text[signs[place].end :].lstrip(" ")


def _sounding(tokens: Sequence[Token]) -> list[Token]:
    return [token for token in tokens if token.kind in SOUNDING]


def _open_repeat(tokens: Sequence[Token]) -> int | None:
    """The place of the line that began a repeat which nothing has ended."""
    opening = None
    for place, token in enumerate(tokens):
        if token.kind == "bar":
            opening = place if token.text.endswith(":") else opening if token.text == "|" else None
    return opening


def _whole_phrases(text: str) -> bool:
    """The section at the end of the text has so many bars, upbeats aside."""
    bars = BarCount(text + "||").section
    return bars > 0 and bars % PHRASE == 0
