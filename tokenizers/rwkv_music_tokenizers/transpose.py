"""Transposition, of ABC text that keeps its layout and of exact scores, with simple and musical spelling."""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from rwkv_music_tokenizers.chords import move_chord
from rwkv_music_tokenizers.intervals import Interval, interval_from, natural, signature_size
from rwkv_music_tokenizers.keys import STEPS, Key

# What `singable_shifts` offers: from a tritone down to a fourth up.
SHIFTS = range(-6, 6)
# Signatures with more sharps or flats are offered only when the tune itself has as many.
SIMPLE_SIGNATURE = 4
# G, (a fiddle's open string, 55) to e' (its third position, 88), as MIDI key numbers.
LOWEST, HIGHEST = 55, 88

_LINE_BREAK = re.compile(r"(\r\n|\r|\n)")
_HEADER_FIELD = re.compile(r"[A-Za-z+]:|%")
# Note letters open no field in the body: "e:|" at the head of a line is music.
_BODY_FIELD = re.compile(r"[IKLMNPQRTUVWXmrsw+]:|%")
_PIECE = re.compile(
    r'"(?P<quoted>[^"]*)"'
    r"|(?P<accidental>\^\^?|__?|=)?(?P<letter>[A-Ga-g])(?P<marks>[,']*)"
    r"|(?P<bar>\||::)"
    r"|\[(?P<field>[A-Za-z]):(?P<value>[^\[\]]*)\]"
    r"|![^!|]*!|%.*"
)
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
    """One way through a tune, from its first line to its last."""

    def __init__(self, semitones: int):
        self.semitones = semitones
        # What the tune holds, before it is moved: (degree, alter) of its notes, and its keys.
        self.heard: set[tuple[int, int]] = set()
        self.keys: set[Key] = set()
        self._open_tune()

    def _open_tune(self) -> None:
        self.in_header = True
        # Until a K: field names a key there is no signature to write accidentals into.
        self.header_signature = _signature(Key(""), self.semitones)
        self.voice = _Voice(self.header_signature)
        self.voices = {"": self.voice}

    def tune(self, text: str) -> str:
        pieces = _LINE_BREAK.split(text)
        pieces[::2] = map(self._line, pieces[::2])
        return "".join(pieces)

    def _line(self, line: str) -> str:
        if line.startswith("X:"):
            self._open_tune()
            return line
        if self.in_header:
            if line.startswith("K:"):
                moved = "K:" + self._key(line[2:])
                self.in_header = False
                self.header_signature = self.voice.signature
                return moved
            if _HEADER_FIELD.match(line) or not line.strip():
                return line
            self.in_header = False
        opening = _BODY_FIELD.match(line)
        if opening is None:
            return _PIECE.sub(self._piece, line)
        return self._field(line[:1], line[2:], line)

    def _field(self, letter: str, value: str, text: str) -> str:
        """A field in the music, as a line or inline: `text` as it reads after the move."""
        if letter == "K":
            start = text.index(":") + 1
            return text[:start] + self._key(value) + text[start + len(value) :]
        if letter == "V":
            name = value.split(maxsplit=1)[0] if value.strip() else ""
            self.voice = self.voices.setdefault(name, _Voice(self.header_signature))
        elif letter == "s":
            return _PIECE.sub(lambda found: self._piece(found) if found["quoted"] else found[0], text)
        return text

    def _piece(self, found: re.Match[str]) -> str:
        kind = found.lastgroup
        if kind == "marks":
            return self._note(found["accidental"], found["letter"], found["marks"])
        if kind == "bar":
            self.voice.old.clear()
            self.voice.new.clear()
        elif kind == "quoted":
            return f'"{move_chord(found["quoted"], self.voice.signature.interval)}"'
        elif kind == "value":
            return self._field(found["field"], found["value"], found[0])
        return found[0]

    def _note(self, sign: str | None, letter: str, marks: str) -> str:
        voice = self.voice
        degree = _DEGREES[letter]
        if marks:
            degree += 7 * (marks.count("'") - marks.count(","))
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
            return _SIGNS[alter] + _letter(degree)
        return _letter(degree)

    def _key(self, text: str) -> str:
        """Reads the text of a K: field, holds to the key from here on, and returns the text of the moved one."""
        words, percent, comment = text.partition("%")
        opening = _KEY.match(words)
        assert opening is not None, "every part of the pattern may be missing"
        rest = words[opening.end() :]
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
            return opening["space"] + _short(interval.key(key)) + rest + percent + comment
        head = opening[0]
        if opening["tonic"]:
            head = head.replace(opening["tonic"], interval.name(opening["tonic"]), 1)
        return head + _KEY_ACCIDENTAL.sub(lambda found: _moved_accidental(found, interval), rest) + percent + comment


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
