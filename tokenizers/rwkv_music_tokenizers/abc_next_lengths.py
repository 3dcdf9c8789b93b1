"""Which lengths may be written after a note, a rest or a chord, and how an event changes the spot."""

from fractions import Fraction

from rwkv_music_tokenizers.abc_rhythm import read_multiplier
from rwkv_music_tokenizers.abc_room import length_texts
from rwkv_music_tokenizers.abc_spot import LASTING, ROLLED, STOPPED, Options, Sign, Spot
from rwkv_music_tokenizers.grammar import Limits

# Bars of one rest.
RESTS = [str(bars) for bars in range(1, 17)]


def sounded(spot: Spot, steps: int, tones: tuple[Sign, ...], tied: tuple[Sign, ...] = ()) -> Spot:
    """The spot after an event."""
    room = spot.room.take(steps)
    split = spot.length == STOPPED or (spot.length == ROLLED and steps == 3 * room.parts)
    return spot.but(
        mode="",
        text="",
        room=room.but(last=0) if split else room,
        length=LASTING,
        sounds=True,
        fresh=True,
        tones=() if spot.length == STOPPED else tones,
        tied=tied,
        joined=bool(spot.tied),
        note=(0, ""),
    )


def sounding(spot: Spot) -> Fraction:
    """Quarters by which the word being written makes the bar longer, as if it ended here."""
    if spot.mode == "whole":
        return Fraction(int(spot.text or 1)) * (spot.room.meter.bar or 4)
    if spot.mode == "broken":
        return spot.room.longer(spot.text[0], len(spot.text))
    if spot.graces >= 0 or spot.chord is not None or spot.mode not in ("note", "rest", "close"):
        return Fraction(0)
    steps = written_steps(spot, close_lengths(spot) if spot.mode == "close" else note_lengths(spot))
    return spot.room.takes(chord_steps(spot, steps) if spot.mode == "close" else steps)


def note_lengths(spot: Spot) -> int:
    """What a note may be written as."""
    room = spot.room
    if spot.graces >= 0:
        return (2 << 4 * room.parts) - 2
    lengths = room.lengths()
    if spot.chord is None:
        return lengths
    if spot.inner is None:
        # The number after the chord can make any length of a unit.
        return lengths | (1 << room.parts if lengths else 0)
    return 1 << inner_steps(spot) if lengths else 0


def inner_steps(spot: Spot) -> int:
    """What the first note of a chord is written as."""
    factor = read_multiplier(spot.inner or "")
    return 0 if factor is None else int(factor * spot.room.parts)


def _texts(spot: Spot, lengths: int) -> tuple[dict[str, int], dict[str, int]]:
    parts = spot.room.parts
    return length_texts(parts, max(parts, 1 << (lengths.bit_length() - 1).bit_length()) if lengths else parts)


def longer(spot: Spot, lengths: int) -> Options:
    """The signs that carry on the text of one of `lengths`."""
    leads = _texts(spot, lengths)[0]
    found: Options = {}
    for sign in "0123456789/":
        text = spot.text + sign
        if leads.get(text, 0) & lengths and (spot.inner is None or spot.mode == "close" or spot.inner.startswith(text)):
            found[sign] = spot.but(text=text)
    return found


def written_steps(spot: Spot, lengths: int) -> int:
    """The length that is written, in steps; 0 where it is none that may be."""
    if spot.inner is not None and spot.mode != "close" and spot.text != spot.inner:
        return 0
    steps = _texts(spot, lengths)[1].get(spot.text, 0)
    return steps if lengths >> steps & 1 else 0


def grow_rest(spot: Spot, limits: Limits) -> Options:
    return longer(spot, note_lengths(spot))


def settle_rest(spot: Spot, limits: Limits) -> Spot | None:
    steps = written_steps(spot, note_lengths(spot))
    return sounded(spot, steps, ()) if steps else None


def grow_whole(spot: Spot, limits: Limits) -> Options:
    """The number of bars that "Z" rests."""
    texts = (spot.text + digit for digit in "0123456789")
    return {text[-1]: spot.but(text=text) for text in texts if any(rest.startswith(text) for rest in RESTS)}


def settle_whole(spot: Spot, limits: Limits) -> Spot | None:
    if spot.text and spot.text not in RESTS:
        return None
    several = int(spot.text or 1) > 1
    spot = sounded(spot, spot.room.left, ())
    spot = spot.but(opens=spot.opens and not several, bars=spot.bars or several, fresh=False)
    return spot.but(room=spot.room.but(last=0))


def chord_steps(spot: Spot, steps: int) -> int:
    """The written length of a chord whose number is that of a note of `steps`."""
    return inner_steps(spot) * steps // spot.room.parts


def close_lengths(spot: Spot) -> int:
    """What the number after a chord may be, as if it were a note's.

    Only chords of a unit have one: to some programs it says how long any chord is, not how many times its first note.
    """
    inner, lengths, parts = inner_steps(spot), spot.room.lengths(), spot.room.parts
    if inner == parts:
        return lengths
    return (lengths >> inner & 1) << parts
