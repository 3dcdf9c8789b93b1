"""Transposition, of ABC text that keeps its layout and of exact scores, with simple and musical spelling."""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache

from rwkv_music_tokenizers.abc_fields import ACCIDENTALS, EXTRA, MODE, TONIC, read_key
from rwkv_music_tokenizers.abc_lexer import lex
from rwkv_music_tokenizers.chords import move_chord
from rwkv_music_tokenizers.intervals import Interval, interval_from, natural, signature_size
from rwkv_music_tokenizers.keys import STEPS, Key
from rwkv_music_tokenizers.score import Event, Item, Part, Score, Tone

# What `singable_shifts` offers: from a tritone down to a fourth up.
SHIFTS = range(-6, 6)
# Signatures with more sharps or flats are offered only when the tune itself has as many.
SIMPLE_SIGNATURE = 4
# G, (a fiddle's open string, 55) to e' (its third position, 88), as MIDI key numbers.
LOWEST, HIGHEST = 55, 88

# What a V: or K: field says of a voice whose notes name drums.
_PERCUSSION = re.compile(r"\bperc\b")
_NOTE = re.compile(r"(\^\^?|__?|=|)([A-Ga-g])([,']*)(.*)")
_KEY_ACCIDENTALS = re.compile(r"(?<!\S)[\^_=]\S*")
_QUOTED = re.compile(r'"([^"]*)"')
_SIGNS = {alter: sign for sign, alter in ACCIDENTALS.items()}
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


def transpose(score: Score, semitones: int) -> Score:
    """A score `semitones` higher (-60..60), spelled as `transpose_abc` spells; percussion parts stay as they are.

    Raises ValueError for a wider move.
    """
    return replace(
        score,
        key=interval_from(score.key, semitones).key(score.key),
        parts=tuple(_moved_part(part, score.key, semitones) for part in score.parts),
    )


def _moved_part(part: Part, key: Key, semitones: int) -> Part:
    if _PERCUSSION.search(part.properties):
        return part
    bars = []
    for bar in part.bars:
        overlays = tuple(_moved_items(layer, key, semitones)[0] for layer in bar.overlays)
        items, key = _moved_items(bar.items, key, semitones)
        bars.append(replace(bar, items=items, overlays=overlays))
    return replace(part, bars=tuple(bars))


def _moved_items(items: tuple[Item, ...], key: Key, semitones: int) -> tuple[tuple[Item, ...], Key]:
    """A layer of a bar that begins in `key`, moved, and the key (before the move) in which it ends."""
    interval = interval_from(key, semitones)
    moved: list[Item] = []
    for item in items:
        if isinstance(item, Key):
            key = item
            interval = interval_from(key, semitones)
            moved.append(interval.key(key))
        elif isinstance(item, Event):
            moved.append(_moved_event(item, interval))
        else:
            moved.append(item)
    return tuple(moved), key


def _moved_event(event: Event, interval: Interval) -> Event:
    grace = tuple(replace(grace, tones=_moved_tones(grace.tones, interval)) for grace in event.grace)
    chord = move_chord(event.chord, interval) if event.chord else ""
    return replace(event, tones=_moved_tones(event.tones, interval), grace=grace, chord=chord)


def _moved_tones(tones: tuple[Tone, ...], interval: Interval) -> tuple[Tone, ...]:
    return tuple(Tone(interval.pitch(tone.pitch), tone.tied) for tone in tones)


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
            alter = voice.old[degree] = ACCIDENTALS[sign]
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
        key = read_key(text)
        if key is None:
            return text
        self.keys.add(key)
        voice = self.voice
        voice.signature = _signature(key, self.semitones)
        voice.old.clear()
        voice.new.clear()
        return _moved_key(text, key, voice.signature.interval)


def _moved_key(text: str, key: Key, interval: Interval) -> str:
    """The text of a K: field, which reads as `key`, moved."""
    if interval.is_octave:
        return text
    if key.pipes:
        moved = interval.key(key)
        return text.replace(key.pipes, moved.tonic + moved.mode[:3], 1)
    opening = TONIC.match(text.lstrip()) if key.tonic else None
    if opening is None:
        return _KEY_ACCIDENTALS.sub(lambda word: _moved_accidentals(word[0], interval), text)
    start = text.index(opening[0])
    end = start + len(opening[0])
    mode = MODE.match(text, end)
    rest = mode.end() if mode else end
    accidentals = _KEY_ACCIDENTALS.sub(lambda word: _moved_accidentals(word[0], interval), text[rest:])
    return text[:start] + interval.name(key.tonic) + text[end:rest] + accidentals


def _moved_accidentals(word: str, interval: Interval) -> str:
    def moved(found: re.Match[str]) -> str:
        degree, alter = interval.shift(STEPS.index(found[2].upper()), ACCIDENTALS[found[1]])
        step = STEPS[degree % 7]
        return _SIGNS[max(-2, min(2, alter))] + (step if found[2].isupper() else step.lower())

    return EXTRA.sub(moved, word)


@lru_cache(maxsize=1024)
def _read_note(text: str) -> tuple[str, int, str]:
    """The accidental, degree and length of a note's text."""
    found = _NOTE.fullmatch(text)
    assert found is not None, "the lexer knows a note"
    sign, letter, marks, length = found.groups()
    return sign, _DEGREES[letter] + 7 * (marks.count("'") - marks.count(",")), length


@lru_cache(maxsize=256)
def _letter(degree: int) -> str:
    """A degree as an ABC letter with its octave marks."""
    octave, step = divmod(degree, 7)
    if octave > 4:
        return STEPS[step].lower() + "'" * (octave - 5)
    return STEPS[step] + "," * (4 - octave)
