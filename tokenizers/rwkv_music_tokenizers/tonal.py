"""ABC with other notes of its scale, the signature as it was: all moved by steps into another mode, or exchanged."""

from collections.abc import Sequence
from dataclasses import replace

from rwkv_music_tokenizers.abc_event_text import letter_text
from rwkv_music_tokenizers.abc_field_text import SIGNS, key_text
from rwkv_music_tokenizers.abc_fields import read_key
from rwkv_music_tokenizers.abc_lexer import lex
from rwkv_music_tokenizers.abc_marks import read_note
from rwkv_music_tokenizers.intervals import accidentals
from rwkv_music_tokenizers.keys import STEPS, Key

# The modes that tunes are written in, and how many steps above the major key of its signature each has its tonic.
TONICS = {"major": 0, "dorian": 1, "mixolydian": 4, "minor": 5}
# From a fourth down to a fourth up.
MOVES = range(-3, 4)
# Places on the staff (7 * octave + step), from G, (a fiddle's open string) to e' (its third position).
STAFF = frozenset(range(25, 45))


class NotTonal(ValueError):
    """Text that cannot be moved along its scale; the message says why."""


def move_along_scale(text: str, steps: int) -> str:
    """One ABC tune with every note `steps` places of the staff higher, and its keys named by their new tonics.

    Signatures stay, so that D major moved by one step is E dorian; a note that was raised or lowered against its
    signature still is, by as much. Raises NotTonal where a key has no mode among TONICS before or after, where an
    accidental would be more than double, and where there are chord symbols, whose kinds would change.
    """
    return "".join(_Walk(steps).texts(text))


def exchange_notes(text: str, order: Sequence[int]) -> str:
    """One ABC tune with every note of step n (0 is C) on step order[n] of its octave; order: 0 to 6, each once.

    Signs, keys, chord symbols, bars and rhythm stay as they were, and so does what repeats; the melody becomes one that
    nobody has heard. Raises nothing.
    """
    return "".join(_exchanged(token.text, order) if token.kind == "note" else token.text for token in lex(text))


def _exchanged(note: str, order: Sequence[int]) -> str:
    sign, step, octave, length = read_note(note)
    return ("" if sign is None else SIGNS[sign]) + letter_text(7 * octave + order[STEPS.index(step)]) + length


def moves_along_scale(text: str) -> tuple[int, ...]:
    """The steps in MOVES, 0 left out, by which a tune can be moved and stay in a mode and on the staff of tunes."""
    return tuple(steps for steps in MOVES if steps and _moves(text, steps))


def _moves(text: str, steps: int) -> bool:
    walk = _Walk(steps)
    try:
        walk.texts(text)
    except NotTonal:
        return False
    return walk.places <= STAFF


def moved_key(key: Key, steps: int) -> Key:
    """The key of the same signature whose tonic lies `steps` places of the staff higher. Raises NotTonal."""
    if not key.tonic or key.pipes or key.extra or key.explicit or key.mode not in TONICS:
        raise NotTonal(f"K:{key_text(key)} is no mode that tunes are written in")
    mode = next((name for name, place in TONICS.items() if place == (TONICS[key.mode] + steps) % 7), None)
    if mode is None:
        raise NotTonal(f"K:{key_text(key)} moved by {steps} steps would be in a mode of no tune")
    step = STEPS[(STEPS.index(key.tonic[0]) + steps) % 7]
    return replace(key, tonic=step + accidentals(key.alter(step)), mode=mode)


class _Walk:
    """One way through a text."""

    def __init__(self, steps: int):
        self.steps = steps
        self.key = Key("")
        # Where the moved notes stand.
        self.places: set[int] = set()

    def texts(self, text: str) -> list[str]:
        """Every token, moved."""
        return [self._token(token.kind, token.text) for token in lex(text)]

    def _token(self, kind: str, text: str) -> str:
        if kind == "note":
            return self._note(text)
        if kind == "symbol":
            raise NotTonal("chord symbols do not move along a scale")
        if kind == "field" and text.startswith("K:"):
            return "K:" + self._key(text[2:])
        if kind == "inline" and text.startswith("[K:"):
            return "[K:" + self._key(text[3:].removesuffix("]")) + "]"
        return text

    def _key(self, text: str) -> str:
        key = read_key(text, self.key)
        if key is None:
            raise NotTonal(f"K:{text} is not a key")
        self.key = key
        return key_text(moved_key(key, self.steps))

    def _note(self, text: str) -> str:
        sign, step, octave, length = read_note(text)
        place = 7 * octave + STEPS.index(step) + self.steps
        self.places.add(place)
        return self._sign(sign, step, STEPS[place % 7]) + letter_text(place) + length

    def _sign(self, sign: int | None, old: str, new: str) -> str:
        if sign is None:
            return ""
        alter = sign - self.key.alter(old) + self.key.alter(new)
        if alter not in SIGNS:
            raise NotTonal(f"{new} would be altered by {alter} semitones")
        return SIGNS[alter]
