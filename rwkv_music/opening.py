"""How a prompt opens a tune: what stays written before the model's music, and what the model hears of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from rwkv_music.errors import UsageError, UserError
from rwkv_music.hearing import SOUNDING, hear, unit_field
from rwkv_music.making import without_making
from rwkv_music_tokenizers.abc_fields import default_unit, read_key, read_meter, read_unit
from rwkv_music_tokenizers.abc_lexer import Token, lex

PROMPT_LIMIT = 64 * 1024
DEFAULT_KEY = "G"
DEFAULT_METER = "4/4"
RHYTHM_METERS = {
    "jig": "6/8",
    "slip jig": "9/8",
    "slide": "12/8",
    "waltz": "3/4",
    "minuet": "3/4",
    "mazurka": "3/4",
    "polka": "2/4",
    "schottische": "2/4",
    "fling": "2/2",
}
# Kinds of token that may stand after the last of the music.
TRAILING = frozenset({"newline", "space", "comment", "directive", "text", "field", "continuation", "linebreak"})
# After these on the last line, music can only go on in a new line.
LINE_ENDING = frozenset({"comment", "directive", "text", "field", "continuation"})


@dataclass(frozen=True)
class Header:
    """Fields for a prompt that lacks them; "" leaves one to the prompt or the defaults."""

    key: str = ""
    meter: str = ""
    rhythm: str = ""
    unit: str = ""
    title: str = ""

    def __post_init__(self):
        rules = {
            "key": (read_key, "a key (D, Am, Edor, Amix, ...)"),
            "meter": (read_meter, "a meter (4/4, 6/8, C|, ...)"),
            "unit": (read_unit, "a unit note length (1/8, 1/16, ...)"),
        }
        for field in fields(self):
            value = getattr(self, field.name)
            if len(value) > 200 or not all(character.isprintable() for character in value) or "%" in value:
                raise UsageError(f"--{field.name} must be one short line without '%'")
            reader, rule = rules.get(field.name, (None, ""))
            if value and reader and reader(value) is None:
                raise UsageError(f"--{field.name}: {value!r} is not {rule}")


LETTERS = {"key": "K", "meter": "M", "rhythm": "R", "unit": "L", "title": "T"}


@dataclass(frozen=True)
class Opening:
    """A prompt made ready."""

    # The complete prompt; it opens the same tune again.
    prompt: str
    # What stands before the model's music: the prompt, a final bar line at its end reopened.
    written: str
    # What the model hears.
    heard: str
    # The prompt ends inside a bar: what comes next must not change its last note.
    inside: bool


def open_tune(prompt: str, header: Header | None = None) -> Opening:
    """Make a prompt ready: one tune's ABC, perhaps only a header, perhaps only notes, perhaps nothing.

    Raises UserError when it is too long, holds several voices, or says already what `header` says.
    """
    if len(prompt) > PROMPT_LIMIT:
        raise UserError(f"the prompt has {len(prompt):,} characters; at most {PROMPT_LIMIT:,} can be continued")
    prompt = complete(without_making(prompt).strip("\n") + "\n", header or Header())
    tokens = lex(prompt)
    start = header_size(tokens)
    hearing = hear(prompt)
    body = [token for token in tokens[start:] if token.kind not in TRAILING or token.kind == "field"]
    if not any(token.kind in SOUNDING for token in body):
        return Opening(prompt, prompt.rstrip() + "\n", hearing.text + "\n", inside=False)
    written, heard = prompt.rstrip(), hearing.text
    last = next(token for token in reversed(tokens) if token.kind not in TRAILING)
    if ends_section(tokens):
        if not last.text.startswith(":"):
            written = written[: last.start] + "||" + written[last.end :]
            heard = heard.removesuffix("|]").removesuffix("||") + "||"
        written, heard = written.rstrip() + "\n", heard + "\n"
    elif any(token.kind in LINE_ENDING for token in tokens if token.start > last.start):
        written += "\n"
    if hearing.unit != hearing.written_unit:
        written += unit_field(hearing.unit)
    return Opening(prompt, written, heard, inside=last.kind not in ("bar", "ending"))


def header_size(tokens: Sequence[Token]) -> int:
    """How many tokens make up the header: through K:, or up to the first music where there is no K:."""
    for place, token in enumerate(tokens):
        if token.kind == "field" and token.text.startswith("K:"):
            return place + 1
        if token.kind in SOUNDING or token.kind == "bar":
            return place
    return len(tokens)


def ends_section(tokens: Sequence[Token]) -> bool:
    """The music ends with a line that closes a section, and no second ending has to follow."""
    ending = ""
    last = None
    for token in tokens:
        if token.kind == "ending":
            ending = token.text
        elif last is not None and last.kind == "bar" and last.text not in ("|", "|:") and token.kind not in TRAILING:
            ending = ""
        if token.kind not in TRAILING:
            last = token
    if last is None or last.kind != "bar" or last.text == "|" or last.text.endswith(":"):
        return False
    return not (last.text.startswith(":") and "1" in ending)


def complete(text: str, header: Header) -> str:
    """ABC with X:, M: and K: in its header, as `header` says or by default. Raises UserError where both say it."""
    tokens = lex(text)
    start = header_size(tokens)
    said = {token.text[0]: token.text.strip() for token in tokens[:start] if token.kind == "field"}
    given = {LETTERS[field.name]: getattr(header, field.name) for field in fields(header)}
    for name, letter in LETTERS.items():
        if given[letter] and letter in said:
            raise UserError(f"the prompt says {said[letter]} already: leave --{name} out, or change the prompt")
    has_music = any(token.kind in SOUNDING for token in tokens)
    if not has_music:
        rhythm = said.get("R", "R:")[2:].strip().lower() or given["R"].lower()
        given["M"] = given["M"] or RHYTHM_METERS.get(rhythm, DEFAULT_METER)
        given["K"] = given["K"] or DEFAULT_KEY
        meter = read_meter(said.get("M", "M:")[2:] if "M" in said else given["M"])
        unit = default_unit(meter) / 4 if meter else None
        given["L"] = given["L"] or (f"{unit.numerator}/{unit.denominator}" if unit else "")
    given["K"] = given["K"] or "C"
    added = {letter: f"{letter}:{given[letter]}\n" for letter in "TRMLK" if given[letter] and letter not in said}
    cut = next((token.start for token in tokens[:start] if token.text.startswith("K:")), None)
    if cut is None:
        cut = tokens[start].start if start < len(tokens) else len(text)
    before, after = text[:cut].lstrip("\n"), text[cut:]
    number = "" if "X" in said else "X:1\n"
    return number + added.pop("T", "") + before + "".join(added.values()) + after
