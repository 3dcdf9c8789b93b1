"""Transposition, of ABC text that keeps its layout and of exact scores, with simple and musical spelling."""

from dataclasses import replace

from rwkv_music_tokenizers.abc_transposer import PERCUSSION, Transposer
from rwkv_music_tokenizers.chords import move_chord
from rwkv_music_tokenizers.intervals import Interval, interval_from, natural, signature_size
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Event, Item, Part, Score, Tone

# What `singable_shifts` offers: from a tritone down to a fourth up.
SHIFTS = range(-6, 6)
# Signatures with more sharps or flats are offered only when the tune itself has as many.
SIMPLE_SIGNATURE = 4
# G, (a fiddle's open string, 55) to e' (its third position, 88), as MIDI key numbers.
LOWEST, HIGHEST = 55, 88


def transpose_abc(text: str, semitones: int) -> str:
    """One ABC tune `semitones` higher (-60..60), its layout untouched.

    Only notes, K: fields and chord symbols change. Each key becomes the one with the fewest sharps or flats, at most
    six; explicit accidentals stay where they were, and more are written only where a note had to be respelled.
    Raises ValueError for a wider move.
    """
    return Transposer(semitones).text(text)


def singable_shifts(text: str) -> tuple[int, ...]:
    """The semitones in -6..5 by which an ABC tune can move and still be simple to read and play; 0 is always one.

    Simple: no signature beyond four sharps or flats and no note outside G,..e', or else none beyond the tune's own.
    """
    walk = Transposer(0)
    walk.text(text)
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
    if PERCUSSION.search(part.properties):
        return part
    bars = []
    for bar in part.bars:
        layers = []
        for layer in (bar.items, *bar.overlays):
            moved, key = _moved_items(layer, key, semitones)
            layers.append(moved)
        bars.append(replace(bar, items=layers[0], overlays=tuple(layers[1:])))
    return replace(part, bars=tuple(bars))


def _moved_items(items: tuple[Item, ...], key: Key, semitones: int) -> tuple[tuple[Item, ...], Key]:
    """A layer of a bar that begins in `key`, moved, and the key in which it ends, as it was."""
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
