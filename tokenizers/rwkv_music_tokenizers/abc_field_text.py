"""Keys, meters, tempi and words of a score as the values of ABC fields."""

import re
from fractions import Fraction

from rwkv_music_tokenizers.abc_fields import ACCIDENTALS
from rwkv_music_tokenizers.abc_text import ENTITY
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Meter, Tempo

# A field line that is longer goes on in "+:" lines.
LONGEST_LINE = 2000
# Decimals of a tempo that ABC readers know.
TEMPO_DECIMALS = 1000
SIGNS = {alter: sign for sign, alter in ACCIDENTALS.items()}
MODE_WORDS = {"major": "", "minor": "m"}

_BREAK = re.compile(r"[\r\n]+")


def escaped(text: str, signs: str = "") -> str:
    """A text that reads back the same in a text field; `signs` are further characters it must not show as such."""
    text = ENTITY.sub(lambda entity: "&amp;" + entity[0][1:], _BREAK.sub(" ", text))
    text = text.replace("\\", "\\\\").replace("%", "\\%")
    return re.sub(f"[{re.escape(signs)}]", _numbered, text) if signs else text


def _numbered(sign: re.Match[str]) -> str:
    return f"\\u{ord(sign[0]):04x}"


def raw(text: str) -> str:
    """A text in one line for a field that knows no escapes."""
    return _BREAK.sub(" ", text).strip()


def field_lines(letter: str, text: str) -> list[str]:
    """A field with this (escaped) text, cut between words into lines that readers can take."""
    lines, line = [], f"{letter}:"
    for word in text.split(" "):
        if len(line) + len(word) > LONGEST_LINE and len(line) > 2:
            lines.append(line)
            line = "+:"
        line += word if line.endswith(":") and len(line) == 2 else f" {word}"
    return [*lines, line]


def key_text(key: Key) -> str:
    """The value of a K: field: "Am", "Ddor", "D exp _b", "none clef=bass"."""
    tonic = key.pipes or (key.tonic + MODE_WORDS.get(key.mode, key.mode[:3]) if key.tonic else "none")
    explicit = ["exp"] if key.explicit else []
    extra = [SIGNS[alter] + step.lower() for step, alter in key.extra if alter in SIGNS]
    return " ".join([tonic, *explicit, *extra, *raw(key.properties).split()])


def meter_text(meter: Meter) -> str:
    """The value of an M: field."""
    return raw(meter.text) or "none"


def tempo_text(tempo: Tempo) -> str:
    """The value of a Q: field: '"Allegro" 1/4=120'."""
    words = [f'"{_quotable(tempo.text)}"'] if tempo.text else []
    if tempo.bpm is not None:
        whole, decimals = divmod(round(tempo.bpm * TEMPO_DECIMALS), TEMPO_DECIMALS)
        number = f"{whole}.{decimals:03}".rstrip("0").rstrip(".")
        words.append(f"{part_of_whole(tempo.beat)}={number}")
    return " ".join(words)


def _quotable(text: str) -> str:
    return raw(text).replace('"', "'")


def part_of_whole(quarters: Fraction) -> str:
    """A length as ABC fields count it: half a quarter is "1/8"."""
    whole = quarters / 4
    return f"{whole.numerator}/{whole.denominator}"
