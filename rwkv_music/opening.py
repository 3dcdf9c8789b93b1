"""How a prompt opens a tune: what stays written before the model's music, and what the model hears of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

from rwkv_music.errors import UsageError, UserError
from rwkv_music.hearing import SOUNDING, Hearing, hear, unit_field
from rwkv_music.making import without_making
from rwkv_music_tokenizers.abc_fields import default_unit, read_key, read_meter, read_tempo, read_unit
from rwkv_music_tokenizers.abc_lexer import Token, lex

# What a bar may hold, in quarters.
SHORTEST_BAR, LONGEST_BAR = Fraction(1, 2), Fraction(32)
# Eight times the longest tune that models have learnt from, and heard within seconds.
PROMPT_LIMIT = 16 * 1024
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
# Kinds of token that a header is made of; any other begins the music.
IN_HEADER = TRAILING - {"continuation", "linebreak"}
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
    # Quarters a minute, or what Q: takes.
    tempo: str = ""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if len(value) > 200 or not all(character.isprintable() for character in value) or "%" in value:
                raise UsageError(f"--{field.name} must be one short line without '%'")
            fault = field_fault(LETTERS[field.name], value)
            if fault:
                raise UsageError(f"--{field.name}: {fault}")


LETTERS = {"key": "K", "meter": "M", "rhythm": "R", "unit": "L", "title": "T", "tempo": "Q"}


def field_fault(letter: str, value: str) -> str:
    """What is wrong with the value of a K:, M: or L: field; "" where nothing is."""
    if not value.strip():
        return ""
    if letter == "K" and read_key(value) is None:
        return f"{value!r} is not a key (D, Am, Edor, Amix, ...)"
    if letter == "L" and read_unit(value) is None:
        return f"{value!r} is not a unit note length (1/8, 1/16, ...)"
    if letter == "Q":
        tempo = read_tempo(f"1/4={value}" if value.strip().isdecimal() else value, Fraction(1, 2))
        slow_or_fast = tempo is None or tempo.bpm is None or not 10 <= tempo.bpm * tempo.beat <= 1000
        return f"{value!r} is no tempo of 10 to 1000 quarters a minute (112, 3/8=100, ...)" if slow_or_fast else ""
    if letter != "M":
        return ""
    meter = read_meter(value)
    if meter is None:
        return f"{value!r} is not a meter (4/4, 6/8, C|, ...)"
    if meter.bar is not None and not SHORTEST_BAR <= meter.bar <= LONGEST_BAR:
        return f"a bar of {value!r} is shorter than 1/8 or longer than 32/4"
    return ""


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

    Raises UserError when it is too long, has a key, meter or unit that is none, holds several voices, or says already
    what `header` says.
    """
    if len(prompt) > PROMPT_LIMIT:
        raise UserError(f"the prompt has {len(prompt):,} characters; at most {PROMPT_LIMIT:,} can be continued")
    prompt = without_making(prompt)
    refuse_faults(lex(prompt))
    prompt = complete(prompt.strip("\n") + "\n", header or Header())
    tokens = lex(prompt)
    start = header_size(tokens)
    hearing = hear(prompt)
    body = [token for token in tokens[start:] if token.kind not in TRAILING or token.kind == "field"]
    if not any(token.kind in SOUNDING for token in body):
        return Opening(prompt, in_unit(prompt.rstrip() + "\n", hearing), hearing.text + "\n", inside=False)
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


def refuse_faults(tokens: Sequence[Token]) -> None:
    """Raises UserError where a key, meter or unit length is none."""
    for token in tokens:
        # A tempo may also be a word in a tune.
        if token.kind in ("field", "inline") and token.text.strip("[]")[0] != "Q":
            text = token.text.strip("[]")
            fault = field_fault(text[0], text[2:].strip())
            if fault:
                raise UserError(f"{token.place}: {text[:2]} {fault}")


def in_unit(text: str, hearing: Hearing) -> str:
    """A tune without music yet, in the unit length it is heard in: its L: line says so."""
    if hearing.unit == hearing.written_unit:
        return text
    field = unit_field(hearing.unit)
    tokens = lex(text)
    lines = [token for token in tokens[: header_size(tokens)] if token.text.startswith("L:")]
    for token in reversed(lines):
        text = text[: token.start] + field.strip("[]") + text[token.end :]
    # Music may begin in a unit that the body, not the header, has set.
    return text if hear(text).written_unit == hearing.unit else text + field


def header_size(tokens: Sequence[Token]) -> int:
    """How many tokens make up the header: through K:, or the lines before the music where no K: comes first."""
    body = None
    for place, token in enumerate(tokens):
        if token.kind == "field" and token.text.startswith("K:"):
            return place + 1
        if body is None and token.kind not in IN_HEADER:
            body = place
        if token.kind in SOUNDING or token.kind == "bar":
            break
    body = len(tokens) if body is None else body
    # K: has a line of its own, so the body takes the space that it begins with.
    while body < len(tokens) and body and tokens[body - 1].kind == "space":
        body -= 1
    return body


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
    if given["Q"].isdecimal():
        given["Q"] = f"1/4={given['Q']}"
    added = {letter: f"{letter}:{given[letter]}\n" for letter in "TRMLQK" if given[letter] and letter not in said}
    cut = next((token.start for token in tokens[:start] if token.text.startswith("K:")), None)
    if cut is None:
        cut = tokens[start].start if start < len(tokens) else len(text)
    before, after = text[:cut].lstrip("\n"), text[cut:]
    number = "" if "X" in said else "X:1\n"
    return number + added.pop("T", "") + before + "".join(added.values()) + after
