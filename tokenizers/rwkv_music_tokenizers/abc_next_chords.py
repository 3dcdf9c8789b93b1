"""Which chords may follow: notes of one length within the limits, and the number that may stand after them."""

from rwkv_music_tokenizers.abc_next_lengths import chord_steps, close_lengths, longer, sounded, written_steps
from rwkv_music_tokenizers.abc_next_notes import SIGNS, any_note, begun, missing_tones, most_tones, notes
from rwkv_music_tokenizers.abc_spot import CLOSE_TONE, STOPPED, Options, Spot
from rwkv_music_tokenizers.grammar import Limits


def in_chord(spot: Spot, limits: Limits) -> Options:
    """Between the brackets of a chord."""
    assert spot.chord is not None
    found = notes(spot.but(fresh=False, tones=()), limits) if len(spot.chord) < most_tones(limits) else {}
    # In a tuplet, or of a stopped chord, not every program finds the notes again.
    findable = not spot.room.open and spot.length != STOPPED and in_order(spot)
    if spot.fresh and spot.tones and findable:
        found["-"] = spot.but(holding=spot.holding + spot.tones, fresh=False, tones=())
    if spot.chord and not missing_tones(spot):
        found["]"] = spot.but(mode="close", chord=None, tones=spot.chord, fresh=False)
    return found


def in_order(spot: Spot) -> bool:
    """Of the chord being written, what is tied to the event before it stands first, and as it stood there."""
    notes = spot.tones if spot.chord is None else spot.chord
    return all(tone[0] == tied[0] for tone, tied in zip(notes, spot.tied, strict=False))


def grow_close(spot: Spot, limits: Limits) -> Options:
    """The number after a chord."""
    return longer(spot, close_lengths(spot))


def settle_close(spot: Spot, limits: Limits) -> Spot | None:
    steps = written_steps(spot, close_lengths(spot))
    if not steps:
        return None
    # All notes can be tied once more unless some are.
    again = () if spot.holding or not in_order(spot) else spot.tones
    after = sounded(spot, chord_steps(spot, steps), again, spot.holding)
    return after.but(inner=None, holding=())


def chord_notes(spot: Spot, limits: Limits) -> Options:
    """What may follow the bracket that opens a chord."""
    return notes(begun(spot).but(chord=()), limits) if begins_chord(spot, limits) else {}


def begins_chord(spot: Spot, limits: Limits) -> bool:
    """A chord may begin here."""
    if most_tones(limits) < max(2, len(spot.tied)) or spot.owed == CLOSE_TONE or not spot.room.lengths():
        return False
    chord = spot.but(chord=())
    return any(any_note(chord, limits, sign) for sign in ("", *SIGNS))
