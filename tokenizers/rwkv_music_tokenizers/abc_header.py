"""The header of a tune: field after field, up to the key."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

from rwkv_music_tokenizers.abc_fields import (
    Voice,
    default_unit,
    read_key,
    read_meter,
    read_program,
    read_tempo,
    read_unit,
    read_voice,
)
from rwkv_music_tokenizers.abc_lexer import Token
from rwkv_music_tokenizers.abc_symbols import SHORT, read_user_symbol
from rwkv_music_tokenizers.abc_text import plain
from rwkv_music_tokenizers.errors import NotationWarning
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Meter, Tempo

MOST_VOICES = 100
MOST_WARNINGS = 200

Read = TypeVar("Read")
Known = TypeVar("Known")
REACHES = ("not", "octave", "pitch")
# Kinds of token that may stand in a header besides its fields.
BETWEEN = frozenset({"newline", "comment", "space", "text", "unknown", "decoration", "linebreak", "continuation"})


@dataclass
class Header:
    """What stands before the music, and holds for every voice until it changes."""

    meter: Meter = Meter("none", None)
    unit: Fraction | None = None
    key: Key = Key()
    tempo: Tempo | None = None
    # The Q: field, read when the unit length is known.
    tempo_field: Token | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    # Programs by voice name, "" for all others.
    programs: dict[str, int] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    # What U: makes of a letter.
    symbols: dict[str, str] = field(default_factory=lambda: dict(SHORT))
    reach: str = "pitch"
    warnings: list[NotationWarning] = field(default_factory=list)

    def warn(self, message: str, token: Token) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(NotationWarning(message, token.place))


def read_header(header: Header, tokens: Sequence[Token]) -> int:
    """Fill the header up to K:, or up to the first music where K: is missing; return how many tokens that took.

    Meter, unit length and tempo that follow K: right away belong to it as well: they hold for every voice.
    """
    last_key = max(
        (at for at, token in enumerate(tokens) if token.kind == "field" and token.text[0] == "K"), default=-1
    )
    at, in_body = 0, False
    while at < len(tokens):
        token = tokens[at]
        if token.kind in ("field", "inline", "directive") and not (in_body and not _still_header(token)):
            take_field(header, token)
        elif in_body and token.kind not in ("newline", "space", "comment"):
            break
        elif token.kind not in BETWEEN:
            line_end = _end_of_stray_line(tokens, at) if at < last_key else None
            if line_end is None:
                header.warn("no K: field before the music; the key is taken as C", token)
                break
            header.warn("this line of the header is no field and is left out", token)
            at = line_end
        at += 1
        in_body = in_body or (token.kind == "field" and token.text[0] == "K")
    unit = header.unit or default_unit(header.meter)
    if header.tempo_field:
        header.tempo = read_tempo(field_value(header.tempo_field), unit)
        if header.tempo is None:
            header.warn(f"{header.tempo_field.text!r} is no tempo (such as Q:1/4=120)", header.tempo_field)
    return at


def _end_of_stray_line(tokens: Sequence[Token], at: int) -> int | None:
    """Where the line ends that stands between header fields without being one; None when it is music."""
    while at < len(tokens) and tokens[at].kind != "newline":
        at += 1
    return at if at + 1 < len(tokens) and tokens[at + 1].kind in ("field", "directive", "comment") else None


def _still_header(token: Token) -> bool:
    """A line after K: that no voice can claim yet."""
    return token.kind == "field" and token.text[0] in "MLQ"


def field_letter(token: Token) -> str:
    """The letter of a field or inline field; "I" for a directive, which is the same instruction."""
    return {"directive": "I", "inline": token.text[1:2]}.get(token.kind, token.text[0])


def field_value(token: Token) -> str:
    """The text of a field, inline field or directive after its letter."""
    text = token.text.strip()
    return {"directive": text[2:], "inline": text[3:].removesuffix("]")}.get(token.kind, text[2:]).strip()


def take_field(header: Header, token: Token) -> None:
    """Let a field of the header take effect."""
    letter, value = field_letter(token), field_value(token)
    match letter:
        case "M":
            header.meter = _or_warn(header, token, read_meter(value), "meter (such as M:6/8)", header.meter)
        case "L":
            header.unit = _or_warn(header, token, read_unit(value), "note length (such as L:1/8)", header.unit)
        case "K":
            header.key = _or_warn(header, token, read_key(value, header.key), "key (such as K:Gm)", header.key)
        case "Q":
            header.tempo_field = token
        case "V":
            voice = read_voice(value)
            if voice and len(header.voices) < MOST_VOICES:
                header.voices.append(voice)
        case "W":
            header.words.append(plain(value))
        case "U" | "m":
            take_symbol(header, token)
        case "I":
            if not header.voices or read_program(value) is None:
                header.fields.append(("%%" if token.kind == "directive" else "I", value))
            take_instruction(header, value)
        case "r" | "+":
            pass
        case _:
            header.fields.append((letter, plain(value)))


def _or_warn(header: Header, token: Token, value: Read | None, wanted: str, otherwise: Known) -> Read | Known:
    """The value, or what held before where the field could not be read."""
    if value is None:
        header.warn(f"{token.text!r} is no {wanted}", token)
        return otherwise
    return value


def take_symbol(header: Header, token: Token) -> None:
    """Let U: give a letter its meaning; a macro (m:) is left out."""
    if field_letter(token) == "m":
        header.warn("macros are not read; the music is taken as it is written", token)
        return
    symbol = read_user_symbol(field_value(token))
    if symbol:
        header.symbols[symbol[0]] = symbol[1]
    else:
        header.warn(f"{token.text!r} defines no symbol (such as U:T=!trill!)", token)


def take_instruction(header: Header, text: str) -> None:
    """Let an instruction that changes how music is read or played take effect for the voice named last, or all."""
    program = read_program(text)
    if program is not None:
        header.programs[header.voices[-1].name if header.voices else ""] = program
    words = text.split()
    if len(words) == 2 and words[0] == "propagate-accidentals" and words[1] in REACHES:
        header.reach = words[1]
