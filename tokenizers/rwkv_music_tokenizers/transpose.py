"""Transposition, of ABC text that keeps its layout and of exact scores, with simple and musical spelling."""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from rwkv_music_tokenizers.abc_lexer import lex
from rwkv_music_tokenizers.chords import move_chord
from rwkv_music_tokenizers.intervals import Interval, interval_from, natural, signature_size
from rwkv_music_tokenizers.keys import STEPS, Key

# What `singable_shifts` offers: from a tritone down to a fourth up.
SHIFTS = range(-6, 6)
# Signatures with more sharps or flats are offered only when the tune itself has as many.
SIMPLE_SIGNATURE = 4
# G, (a fiddle's open string, 55) to e' (its third position, 88), as MIDI key numbers.
LOWEST, HIGHEST = 55, 88

_NOTE = re.compile(r"(\^\^?|__?|=|)([A-Ga-g])([,']*)(.*)")
_QUOTED = re.compile(r'"([^"]*)"')
_KEY = re.compile(
    r"(?P<space>\s*)(?:(?P<pipes>H[Pp])\b|(?P<tonic>[A-G][#b]?)"
    r"(?:\s*(?P<mode>m(?![A-Za-z])|(?i:maj|min|mix|dor|phr|lyd|loc|ion|aeo)[A-Za-z]*(?!=)))?)?"
)
_KEY_ACCIDENTAL = re.compile(r"(?<![\w=])(\^\^?|__?|=)([A-Ga-g])(?![\w=])")
_MODES = {
    "maj": "major",
    "ion": "ionian",
    "lyd": "lydian",
    "mix": "mixolydian",
    "dor": "dorian",
    "m": "minor",
    "min": "minor",
    "aeo": "aeolian",
    "phr": "phrygian",
    "loc": "locrian",
}

_ALTERS = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}
_SIGNS = {alter: sign for sign, alter in _ALTERS.items()}
_DEGREES = {letter: 28 + STEPS.index(letter) for letter in STEPS} | {
    letter.lower(): 35 + STEPS.index(letter) for letter in STEPS
}


def transpose_abc(text: str, semitones: int) -> str:
    """One ABC tune `semitones` higher (-60..60), its layout untouched.

    Only notes, K: fields and chord symbols change. Each key becomes the one with the fewest sharps or flats, at most
    six; explicit accidentals stay where they were, and more are written only where a note had to be respelled.
    Raises ValueError for a wider move.
    """
    return _Walk(semitones).tune(text)


def singable_shifts(text: str) -> tuple[int, ...]:
    """The semitones in -6..5 by which an ABC tune can move and still be simple to read and play; 0 is always one.

    Simple: no signature beyond four sharps or flats and no note outside G,..e', or else none beyond the tune's own.
    """
    walk = _Walk(0)
    walk.tune(text)
    heights = [natural(degree) + alter + 12 for degree, alter in walk.heard] or [LOWEST]
    lowest, highest = min(LOWEST, *heights), max(HIGHEST, *heights)
    low, high = min(heights), max(heights)
    return tuple(
        shift
        for shift in SHIFTS
        if low + shift >= lowest and high + shift <= highest and all(_is_simple(key, shift) for key in walk.keys)
    )


def _is_simple(key: Key, shift: int) -> bool:
    moved = interval_from(key, shift).key(key)
    return abs(signature_size(moved)) <= max(SIMPLE_SIGNATURE, abs(signature_size(key)))


@dataclass(frozen=True)
class _Signature:
    """A key and the one it moves to, as tables over the seven steps from C."""

    interval: Interval
    old: tuple[int, ...]
    new: tuple[int, ...]
    # (step, alter) -> (degrees to move, new alter), for every step and every accidental.
    moves: dict[tuple[int, int], tuple[int, int]]


@lru_cache(maxsize=512)
def _signature(key: Key, semitones: int) -> _Signature:
    interval = interval_from(key, semitones)
    moves = {}
    for step in range(7):
        for alter in range(-2, 3):
            degree, altered = interval.move(step, alter)
            moves[step, alter] = (degree - step, altered)
    moved = interval.key(key)
    return _Signature(interval, tuple(map(key.alter, STEPS)), tuple(map(moved.alter, STEPS)), moves)


@dataclass
class _Voice:
    """What holds at one spot of a voice: its key, and the accidentals of the bar as they were and as they are now."""

    signature: _Signature
    # Degree -> alter.
    old: dict[int, int] = field(default_factory=dict)
    new: dict[int, int] = field(default_factory=dict)


class _Walk:
    """One way through a tune, from its first token to its last."""

    def __init__(self, semitones: int):
        self.semitones = semitones
        # What the tune holds, before it is moved: (degree, alter) of its notes, and its keys.
        self.heard: set[tuple[int, int]] = set()
        self.keys: set[Key] = set()
        self._open_tune()

    def _open_tune(self) -> None:
        # Until a K: field names a key there is no signature to write accidentals into.
        self.header_signature = _signature(Key(""), self.semitones)
        self.in_header = True
        self.voice = _Voice(self.header_signature)
        self.voices = {"": self.voice}

    def tune(self, text: str) -> str:
        return "".join([self._token(token.kind, token.text) for token in lex(text)])

    def _token(self, kind: str, text: str) -> str:
        if kind == "note":
            return self._note(text)
        if kind == "bar":
            self.voice.old.clear()
            self.voice.new.clear()
        elif kind == "symbol":
            return self._symbols(text)
        elif kind == "field":
            return self._field(text[0], text, text[2:])
        elif kind == "inline":
            return self._field(text[1], text, text[3:].removesuffix("]"))
        return text

    def _field(self, letter: str, text: str, value: str) -> str:
        """A field as it reads after the move: `text` with another `value` in it."""
        if letter == "X":
            self._open_tune()
        elif letter == "K":
            before, after = text[: text.index(":") + 1], text[text.index(":") + 1 + len(value) :]
            moved = before + self._key(value) + after
            if self.in_header:
                self.header_signature = self.voice.signature
                self.in_header = False
            return moved
        elif letter == "V" and not self.in_header:
            name = value.split(maxsplit=1)[0] if value.strip() else ""
            self.voice = self.voices.setdefault(name, _Voice(self.header_signature))
        elif letter == "s":
            return self._symbols(text)
        return text

    def _symbols(self, text: str) -> str:
        interval = self.voice.signature.interval
        return _QUOTED.sub(lambda found: f'"{move_chord(found[1], interval)}"', text)

    def _note(self, text: str) -> str:
        sign, degree, length = _read_note(text)
        voice = self.voice
        if sign:
            alter = voice.old[degree] = _ALTERS[sign]
        elif degree in voice.old:
            alter = voice.old[degree]
        else:
            alter = voice.signature.old[degree % 7]
        self.heard.add((degree, alter))
        steps, alter = voice.signature.moves[degree % 7, alter]
        degree += steps
        if sign or alter != voice.new.get(degree, voice.signature.new[degree % 7]):
            voice.new[degree] = alter
            return _SIGNS[alter] + _letter(degree) + length
        return _letter(degree) + length

    def _key(self, text: str) -> str:
        """Reads the text of a K: field, holds to the key from here on, and returns the text of the moved one."""
        opening = _KEY.match(text)
        assert opening is not None, "every part of the pattern may be missing"
        rest = text[opening.end() :]
        extra = tuple((letter.upper(), _ALTERS[sign]) for sign, letter in _KEY_ACCIDENTAL.findall(rest))
        key = _read_key(opening, rest, extra)
        if key is None:
            return text
        self.keys.add(key)
        voice = self.voice
        voice.signature = _signature(key, self.semitones)
        voice.old.clear()
        voice.new.clear()
        interval = voice.signature.interval
        if not interval.steps % 7:
            return text
        if opening["pipes"]:
            return opening["space"] + _short(interval.key(key)) + rest
        head = opening[0]
        if opening["tonic"]:
            head = head.replace(opening["tonic"], interval.name(opening["tonic"]), 1)
        return head + _KEY_ACCIDENTAL.sub(lambda found: _moved_accidental(found, interval), rest)


@lru_cache(maxsize=1024)
def _read_note(text: str) -> tuple[str, int, str]:
    """The accidental, degree and length of a note's text."""
    found = _NOTE.fullmatch(text)
    assert found is not None, "the lexer knows a note"
    sign, letter, marks, length = found.groups()
    return sign, _DEGREES[letter] + 7 * (marks.count("'") - marks.count(",")), length


def _read_key(opening: re.Match[str], rest: str, extra: tuple[tuple[str, int], ...]) -> Key | None:
    """The key that a K: field names; None when the field speaks of something else (a clef)."""
    if opening["pipes"]:
        return Key("", pipes=opening["pipes"], extra=extra)
    if opening["tonic"] and not re.match(r"\s*exp\b", rest):
        mode = opening["mode"] or "maj"
        return Key(opening["tonic"], _MODES[mode[:3].lower()], extra)
    if extra or opening["tonic"] or not rest.strip() or rest.lstrip().startswith("none"):
        return Key("", extra=extra)
    return None


def _short(key: Key) -> str:
    return key.tonic + key.mode[:3]


def _moved_accidental(found: re.Match[str], interval: Interval) -> str:
    sign, letter = found.groups()
    degree, alter = interval.shift(STEPS.index(letter.upper()), _ALTERS[sign])
    moved = STEPS[degree % 7]
    return _SIGNS[max(-2, min(2, alter))] + (moved if letter.isupper() else moved.lower())


@lru_cache(maxsize=256)
def _letter(degree: int) -> str:
    """A degree as an ABC letter with its octave marks."""
    octave, step = divmod(degree, 7)
    if octave > 4:
        return STEPS[step].lower() + "'" * (octave - 5)
    return STEPS[step] + "," * (4 - octave)
