"""What a model of tunes hears of an ABC prompt: the plain music it has learnt from, and none of the ornaments."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from rwkv_music.errors import UserError
from rwkv_music_tokenizers.abc_fields import default_unit, read_meter, read_unit
from rwkv_music_tokenizers.abc_lexer import Token, lex
from rwkv_music_tokenizers.abc_rhythm import read_multiplier
from rwkv_music_tokenizers.abc_tokens import training_text
from rwkv_music_tokenizers.score import Meter

EIGHTH = Fraction(1, 2)
# Unit lengths that models have learnt, in quarters; a tune that begins in another one is heard in eighths.
KNOWN_UNITS = (EIGHTH, Fraction(1, 4))
KNOWN_INLINE = (*KNOWN_UNITS, Fraction(1))
SOUNDING = frozenset({"note", "rest", "chord_open"})
# The length of a chord multiplies those of its notes, so it holds in any unit.
AS_WRITTEN = frozenset({"tie", "tuplet", "broken", "ending", "chord_close"})
# What comes before a length, and the length.
LENGTH_LAST = re.compile(r"([^0-9/]*)([0-9/]*)")
# Quarters in the bars of a tune that names no meter, and the meter it is heard in; others are heard in 4/4.
GUESSED_METERS = {Fraction(2): "2/4", Fraction(3): "3/4", Fraction(9, 2): "9/8", Fraction(6): "12/8"}


@dataclass(frozen=True)
class Hearing:
    """What a model hears of a tune, without space at its end."""

    text: str
    # The unit lengths that hold at the end, in quarters: as heard, and as written.
    unit: Fraction
    written_unit: Fraction


def hear(text: str) -> Hearing:
    """One ABC tune, its header ended by K:, as a model hears it. Raises UserError for several voices."""
    tokens = lex(text)
    refuse_voices(tokens)
    start = next((place for place, token in enumerate(tokens) if token.text.startswith("K:")), -1) + 1
    fields = {token.text[0]: token.text[2:].strip() for token in reversed(tokens[:start]) if token.kind == "field"}
    body = tokens[start:]
    meter = read_meter(fields.get("M", "")) or Meter("none", None)
    unit = read_unit(fields.get("L", "")) or default_unit(meter)
    fields["M"] = GUESSED_METERS.get(_usual_bar(body, unit), "4/4") if meter.bar is None else meter.text
    ear = _Ear(unit, unit if unit in KNOWN_UNITS else EIGHTH)
    fields["L"] = _unit_text(ear.heard)
    fields["R"] = fields.get("R", "").lower()
    header = [f"{letter}:{fields[letter]}\n" for letter in "RMLK" if fields.get(letter)]
    music = re.sub(r" *\n\s*", "\n", re.sub(r" {2,}", " ", "".join(ear.words(body))))
    return Hearing(training_text("".join(header) + music.strip()).strip(), ear.heard, ear.unit)


def unit_field(unit: Fraction) -> str:
    """The inline field that sets a unit length, given in quarters."""
    return f"[L:{_unit_text(unit)}]"


def _unit_text(unit: Fraction) -> str:
    return f"{(unit / 4).numerator}/{(unit / 4).denominator}"


def refuse_voices(tokens: list[Token]) -> None:
    """Raises UserError where a second voice begins."""
    voices = set()
    for token in tokens:
        text = token.text.lstrip("[")
        if token.kind in ("field", "inline") and text.startswith("V:"):
            voices.add((text[2:].rstrip("]").split() or [""])[0])
        if len(voices) > 1:
            raise UserError(f"{token.place}: the prompt has several voices; this model continues a single melody")


def _usual_bar(body: list[Token], unit: Fraction) -> Fraction:
    """The most frequent length between two bar lines, in quarters; chords, tuplets and broken rhythm left aside."""
    lengths: Counter[Fraction] = Counter()
    bar = Fraction(0)
    for token in body:
        if token.kind in ("note", "rest"):
            bar += unit * (read_multiplier(_cut_length(token.text)[1]) or 0)
        elif token.kind == "bar" and bar:
            lengths[bar] += 1
            bar = Fraction(0)
    return lengths.most_common(1)[0][0] if lengths else Fraction(0)


def _cut_length(text: str) -> tuple[str, str]:
    match = LENGTH_LAST.match(text)
    assert match is not None
    return match[1], match[2]


class _Ear:
    """Goes through the music once; `unit` is what it is written in, `heard` what it is heard in."""

    def __init__(self, unit: Fraction, heard: Fraction):
        self.unit = unit
        self.heard = heard
        # Lengths stay as written until the unit is one that models do not know.
        self.follows = unit == heard
        # Kinds of token that end what is being skipped, and whether they are skipped too.
        self.until: frozenset[str] = frozenset()
        self.through = False

    def words(self, tokens: list[Token]) -> Iterator[str]:
        for place, token in enumerate(tokens):
            if self.until and token.kind not in self.until:
                continue
            ends, self.until = bool(self.until), frozenset()
            if not ends or not self.through or token.kind == "bar":
                yield self._word(token, last=place + 1 == len(tokens))

    def _skip(self, *until: str, through: bool) -> str:
        self.until, self.through = frozenset(until), through
        return ""

    def _word(self, token: Token, last: bool) -> str:
        kind, text = token.kind, token.text
        if kind in AS_WRITTEN:
            return text
        if kind in ("note", "rest"):
            return self._lengthened(text)
        if kind in ("space", "newline"):
            return text[0]
        if kind == "bar":
            return _bar_text(text)
        if kind == "symbol":
            return text if last or (len(text) > 1 and text.endswith('"')) else ""
        if kind == "inline":
            return self._field(text.strip("[]"))
        if kind == "field":
            self._skip("newline", through=True)
            return self._field(text)
        if kind == "grace_open":
            return self._skip("grace_close", "newline", "bar", through=True)
        if kind == "overlay":
            return self._skip("newline", "bar", through=False)
        return "[" if kind == "chord_open" else ""

    def _lengthened(self, text: str) -> str:
        text = text.replace("x", "z").replace("X", "Z")
        head, length = _cut_length(text)
        multiplier = read_multiplier(length)
        if self.follows or head == "Z" or multiplier is None:
            return text
        return head + _length_text(multiplier * self.unit / self.heard)

    def _field(self, text: str) -> str:
        """A change of key, meter or unit length inside the music."""
        if text[0] in "KM":
            return f"[{text}]"
        unit = read_unit(text[2:]) if text[0] == "L" else None
        if unit is None:
            return ""
        self.unit = unit
        self.follows = self.follows and unit in KNOWN_INLINE
        if not self.follows:
            return ""
        self.heard = unit
        return unit_field(unit)


def _bar_text(text: str) -> str:
    """A bar line in the few forms that models know."""
    if text in ("|", "||", "|]"):
        return text
    if text.startswith(":"):
        return ":|\n|:" if text.endswith(":") else ":|"
    if text.endswith(":"):
        return "|:"
    return "||" if "||" in text else "|]" if text.endswith("|]") else "|"


def _length_text(length: Fraction) -> str:
    """A length in units as ABC writes it: "", "3", "/2", "3/2"."""
    above = "" if length.numerator == 1 else str(length.numerator)
    return above if length.denominator == 1 else f"{above}/{length.denominator}"
