"""A walk through ABC text that moves its notes, keys and chord symbols and leaves all else as it is."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from rwkv_music_tokenizers.abc_event_text import letter_text
from rwkv_music_tokenizers.abc_field_text import SIGNS
from rwkv_music_tokenizers.abc_fields import ACCIDENTALS, EXTRA, MODE, TONIC, read_key
from rwkv_music_tokenizers.abc_lexer import lex
from rwkv_music_tokenizers.abc_marks import read_note
from rwkv_music_tokenizers.accidentals import Accidentals
from rwkv_music_tokenizers.chords import move_chord
from rwkv_music_tokenizers.intervals import Interval, interval_from
from rwkv_music_tokenizers.keys import STEPS, Key

# Names beyond these go on in the voice before; no reader takes so many.
MOST_VOICES = 100
# What a V: field says of a voice whose notes name drums.
PERCUSSION = re.compile(r"\bperc\b")

_KEY_ACCIDENTALS = re.compile(r"(?<!\S)[\^_=]\S*")
_QUOTED = re.compile(r'"([^"]*)"')
_STEP_NUMBERS = {step: number for number, step in enumerate(STEPS)}


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


# A tone: (degree, alter) as it was and as it is now, and whether it is tied to the next event.
_Moved: TypeAlias = tuple[tuple[int, int], tuple[int, int], bool]


class _Layer:
    """The accidentals of one layer as they were and as they are now, and the tones of its last event."""

    def __init__(self, signature: _Signature, reach: str):
        self.old = Accidentals(signature.old, reach)
        self.new = Accidentals(signature.new, reach)
        self.last: list[_Moved] = []

    def hold(self) -> None:
        """Tie the tones of the last event that are to be tied."""
        tied = [(old, new) for old, new, held in self.last if held]
        self.old.ties = {degree: alter for (degree, alter), _ in tied}
        self.new.ties = {degree: alter for _, (degree, alter) in tied}


class _Voice:
    """One voice: its key, and a layer for the main line and each overlay."""

    def __init__(self, key: Key, semitones: int, reach: str):
        self.semitones = semitones
        self.reach = reach
        self.key = key
        self.signature = _signature(key, semitones)
        self.layers = [_Layer(self.signature, reach)]
        self.layer = self.layers[0]
        self.depth = 0
        # Some note has been written.
        self.sounded = False

    def set_key(self, key: Key) -> None:
        self.key = key
        self.signature = _signature(key, self.semitones)
        for layer in self.layers:
            layer.old.signature, layer.new.signature = self.signature.old, self.signature.new

    def end_bar(self) -> None:
        self.depth = 0
        self.layer = self.layers[0]
        for layer in self.layers:
            layer.old.end_bar()
            layer.new.end_bar()

    def overlay(self) -> None:
        self.depth += 1
        if self.depth == len(self.layers):
            self.layers.append(_Layer(self.signature, self.reach))
        self.layer = self.layers[self.depth]


class Transposer:
    """One way through a text of one or more tunes, from first token to last."""

    def __init__(self, semitones: int):
        self.semitones = semitones
        # What the text holds, before it is moved: (degree, alter) of its notes, and its keys.
        self.heard: set[tuple[int, int]] = set()
        self.keys: set[Key] = set()
        self._open_tune()

    def _open_tune(self) -> None:
        # Until a K: field names a key there is no signature to write accidentals into.
        self._key = Key("")
        self._reach = "pitch"
        self._drums: set[str] = set()
        self._in_header = True
        self._voice = _Voice(self._key, self.semitones, self._reach)
        self._voices = {"": self._voice}
        # The tones of the chord that is open; None outside chords.
        self._chord: list[_Moved] | None = None
        self._in_grace = False

    def text(self, text: str) -> str:
        """The whole text, moved."""
        return "".join([self._token(token.kind, token.text) for token in lex(text)])

    def _token(self, kind: str, text: str) -> str:
        if kind == "note":
            return self._note(text)
        if kind == "symbol":
            return self._symbols(text)
        if kind == "field":
            return self._field(text[0], text, text[2:])
        if kind == "inline":
            return self._field(text[1], text, text[3:].removesuffix("]"))
        if kind == "directive":
            self._instruction(text[2:])
        elif kind not in ("space", "newline"):
            self._mark(kind, text)
        return text

    def _mark(self, kind: str, text: str) -> None:
        """Keep account of what a sign means for the accidentals of the notes to come."""
        layer = self._voice.layer
        if kind in ("bar", "overlay") or (kind == "ending" and text[0] == "["):
            self._in_grace, self._chord = False, None
            if kind == "overlay":
                self._voice.overlay()
            else:
                self._voice.end_bar()
        elif kind == "chord_open":
            self._chord = []
        elif kind == "chord_close" and self._chord is not None:
            tones, self._chord = self._chord, None
            if not self._in_grace:
                layer.last = tones
                layer.hold()
        elif kind == "tie" and self._chord:
            self._chord[-1] = (*self._chord[-1][:2], True)
        elif kind == "tie" and self._chord is None and not self._in_grace:
            layer.last = [(old, new, True) for old, new, _ in layer.last]
            layer.hold()
        elif kind == "rest" and self._chord is None and not self._in_grace:
            layer.last = []
            layer.hold()
        elif kind in ("grace_open", "grace_close"):
            self._in_grace = kind == "grace_open"

    def _note(self, text: str) -> str:
        sign, step, octave, length = read_note(text)
        degree = 7 * octave + _STEP_NUMBERS[step]
        voice = self._voice
        layer = voice.layer
        voice.sounded = True
        self._in_header = False
        if sign is None:
            alter = layer.old.implied(degree)
        else:
            alter = sign
            layer.old.write(degree, alter)
        self.heard.add((degree, alter))
        steps, moved = voice.signature.moves[degree % 7, alter]
        place = degree + steps
        written = sign is not None or moved != layer.new.implied(place)
        if written:
            layer.new.write(place, moved)
        if self._chord is not None:
            self._chord.append(((degree, alter), (place, moved), False))
        elif not self._in_grace:
            layer.last = [((degree, alter), (place, moved), False)]
            if layer.old.ties:
                layer.hold()
        return (SIGNS[moved] if written else "") + letter_text(place) + length

    def _field(self, letter: str, text: str, value: str) -> str:
        """A field as it reads after the move: `text` with another `value` in it."""
        if letter == "X":
            self._open_tune()
        elif letter == "K":
            start = text.index(":") + 1
            return text[:start] + self._moved_key(value) + text[start + len(value) :]
        elif letter == "V":
            self._choose_voice(value)
        elif letter == "I":
            self._instruction(value)
        elif letter == "s":
            return self._symbols(text)
        return text

    def _choose_voice(self, value: str) -> None:
        """Go on in the voice that a V: field names; in the header, the voice that is named first."""
        name = value.split(maxsplit=1)[0] if value.strip() else ""
        if PERCUSSION.search(value):
            self._drums.add(name)
        if "" in self._voices and not self._voice.sounded:
            # No voice has begun without a name, so the tune's first state is this one's.
            self._voices = {name: self._voices.pop("")}
            self._voice.semitones = 0 if name in self._drums else self.semitones
            self._voice.set_key(self._voice.key)
        if name not in self._voices and len(self._voices) < MOST_VOICES:
            self._voices[name] = _Voice(self._key, 0 if name in self._drums else self.semitones, self._reach)
        if not self._in_header:
            self._voice = self._voices.get(name, self._voice)

    def _instruction(self, text: str) -> None:
        words = text.split()
        if len(words) == 2 and words[0] == "propagate-accidentals" and words[1] in ("not", "octave", "pitch"):
            self._reach = words[1]
            for voice in self._voices.values():
                voice.reach = self._reach
                for layer in voice.layers:
                    layer.old.reach = layer.new.reach = self._reach

    def _symbols(self, text: str) -> str:
        interval = self._voice.signature.interval
        return _QUOTED.sub(lambda found: f'"{move_chord(found[1], interval)}"', text)

    def _moved_key(self, text: str) -> str:
        """Hold to the key of a K: field from here on, in the header for every voice; its text, moved."""
        key = read_key(text, None if self._in_header else self._voice.key)
        if key is not None:
            self.keys.add(key)
            for voice in self._voices.values() if self._in_header else [self._voice]:
                voice.set_key(key)
            if self._in_header:
                self._key = key
        self._in_header = False
        return text if key is None else moved_key_text(text, key, self._voice.signature.interval)


def moved_key_text(text: str, key: Key, interval: Interval) -> str:
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
        return SIGNS[max(-2, min(2, alter))] + (step if found[2].isupper() else step.lower())

    return EXTRA.sub(moved, word)
