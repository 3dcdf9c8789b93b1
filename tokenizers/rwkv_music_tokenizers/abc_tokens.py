"""How ABC text goes into a model: one id a character, in ASCII, in the form that the embedded model learnt."""

from collections.abc import Iterable
from dataclasses import dataclass

from anyascii import anyascii

from rwkv_music_tokenizers.abc_fields import default_unit, read_key, read_meter
from rwkv_music_tokenizers.abc_lexer import Token, lex
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Meter

# Signs that mean something in music come out as ABC means them, whatever their general transliteration.
_MUSIC_SIGNS = str.maketrans({"♭": "b", "♯": "#", "♮": None, "𝄫": "bb", "𝄪": "##", "\r": "\n"})
_KEPT_CONTROLS = "\n\t"
_TRAINED_HEADER = "RMLK"
_TRAINED_INLINE = "KML"
# Kinds of token that are no music: a model that never saw them is not shown them.
_DROPPED = frozenset({"directive", "comment", "text"})
_MODE_SIGNS = {"major": "", "ionian": "", "minor": "m", "aeolian": "m"}
_METER_SIGNS = {"C": "4/4", "C|": "2/2"}


@dataclass(frozen=True)
class AbcTokenizer:
    """The code of the published RWKV ABC models: an id is a character code, 0..127; ids up to 3 are no text."""

    name: str = "abc"
    vocabulary_size: int = 128
    pad: int = 0
    bos: int = 2
    eos: int = 3

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without `bos` and `eos`. What is not ASCII is transliterated first."""
        if not text.isascii():
            text = transliterate(text)
        return [code for code in text.encode("ascii") if code > self.eos]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; pad, bos and eos leave nothing. Raises ValueError for an id that is not in 0..127."""
        codes = list(ids)
        for code in codes:
            if not 0 <= code < self.vocabulary_size:
                raise ValueError(f"an id of ABC text must be in range 0..{self.vocabulary_size - 1}, not {code}")
        return "".join(chr(code) for code in codes if code > self.eos)

    def document(self, text: str) -> list[int]:
        """A whole text as the models were trained on it: bos, the text, eos."""
        return [self.bos, *self.encode(text), self.eos]


def encode(text: str) -> list[int]:
    """Ids of a text, as `AbcTokenizer` gives them."""
    return AbcTokenizer().encode(text)


def decode(ids: Iterable[int]) -> str:
    """The text of ids, as `AbcTokenizer` gives it."""
    return AbcTokenizer().decode(ids)


def transliterate(text: str) -> str:
    """A text in printable ASCII, line feeds and tabs kept: accents fall, other scripts are romanised.

    Flat and sharp signs become "b" and "#". Emoji go: their names would come in colons, which in ABC repeat bars.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").translate(_MUSIC_SIGNS)
    return "".join(map(_ascii, text))


def _ascii(character: str) -> str:
    written = character if character.isascii() else anyascii(character)
    if len(written) > 2 and written[0] == written[-1] == ":":
        return ""
    return "".join(sign for sign in written if sign in _KEPT_CONTROLS or (sign.isascii() and sign.isprintable()))


def training_text(text: str) -> str:
    """One ABC tune in the form that the embedded model trains on and is prompted with.

    The header is R:, M:, L: and K: in that order, as far as the tune has them (of several, the first; a tune with
    notes but without L: gets the unit that it means). Every other line that is not music goes: titles, composers,
    lyrics, comments, directives; so do inline fields other than [K:], [M:] and [L:], and all voices but the first.
    Fields of these three kinds between lines of music become inline. M:C and M:C| become 4/4 and 2/2, keys their
    short form ("E minor" is "Em"). The text is ASCII and ends with exactly one line feed.
    """
    return _TrainingForm(transliterate(text)).text


class _TrainingForm:
    """Collects what the model sees of a tune while its tokens go by."""

    def __init__(self, text: str):
        self.header: dict[str, str] = {}
        self.in_header = True
        self.voices: list[str] = []
        self.voice = ""
        self.music: list[str] = []
        # The next line of music goes on where this one ends.
        self.joins = False
        for token in lex(text):
            self._take(token)
        lines = [line.rstrip() for line in "".join(self.music).split("\n")]
        body = [line for line in lines if line.strip()]
        if body and "L" not in self.header:
            meter = read_meter(self.header.get("M", "")) or Meter("none", None)
            unit = default_unit(meter) / 4
            self.header["L"] = f"{unit.numerator}/{unit.denominator}"
        fields = [f"{letter}:{self.header[letter]}" for letter in _TRAINED_HEADER if letter in self.header]
        self.text = "\n".join([*fields, *body]) + "\n"

    def _take(self, token: Token) -> None:
        letter = token.text[:1]
        if token.kind == "field":
            self._field(letter, token.text[2:].strip())
        elif token.kind == "newline":
            if not self.joins:
                self._add("\n")
            self.joins = False
        elif token.kind == "continuation":
            self.joins = True
        elif token.kind == "inline":
            letter, value = token.text[1], token.text[3:].removesuffix("]")
            if letter == "V":
                self._enter(value)
            elif letter in _TRAINED_INLINE:
                self._add(f"[{letter}:{_short(letter, value)}]")
        elif token.kind not in _DROPPED:
            self._add(token.text)

    def _field(self, letter: str, value: str) -> None:
        if letter == "V" and not self.in_header:
            self._enter(value)
        elif self.in_header:
            if letter in _TRAINED_HEADER:
                self.header.setdefault(letter, _short(letter, value))
            self.in_header = letter != "K"
        elif letter in _TRAINED_INLINE:
            self._add(f"[{letter}:{_short(letter, value)}]")
            self.joins = True

    def _enter(self, value: str) -> None:
        self.voice = value.split(maxsplit=1)[0] if value.strip() else ""
        if self.voice not in self.voices:
            self.voices.append(self.voice)

    def _add(self, text: str) -> None:
        if not self.voices or self.voice == self.voices[0]:
            self.music.append(text)


def _short(letter: str, value: str) -> str:
    """A field's value as the training data writes it."""
    value = value.strip()
    if letter == "M":
        return _METER_SIGNS.get(value, value)
    key = read_key(value) if letter == "K" else None
    if key is None or key == Key("", properties=key.properties) or key.pipes or key.extra:
        return value
    return key.tonic + _MODE_SIGNS.get(key.mode, key.mode[:3])
