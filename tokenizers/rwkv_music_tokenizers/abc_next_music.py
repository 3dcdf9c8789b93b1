"""What may follow a spot in the music: every word that can begin, go on or end there."""

from collections.abc import Callable

from rwkv_music_tokenizers.abc_fields import read_meter, read_unit
from rwkv_music_tokenizers.abc_next_chords import begins_chord, chord_notes, grow_close, in_chord, settle_close
from rwkv_music_tokenizers.abc_next_groups import grow_broken, grow_group, settle_broken, settle_group
from rwkv_music_tokenizers.abc_next_header import with_key
from rwkv_music_tokenizers.abc_next_lengths import grow_rest, grow_whole, settle_rest, settle_whole
from rwkv_music_tokenizers.abc_next_lines import (
    FIELD,
    FINAL,
    endings,
    grow_bar,
    lines,
    next_ending,
    plays_symbols,
    settle_bar,
    settle_ending,
)
from rwkv_music_tokenizers.abc_next_notes import any_note, events, grow_note, grow_sign, in_graces, settle_note
from rwkv_music_tokenizers.abc_room import BROKEN, new_room
from rwkv_music_tokenizers.abc_spot import (
    CLOSE_NOTE,
    CLOSE_TONE,
    LASTING,
    NOTE,
    NOTHING,
    ROLLED,
    SOUND,
    STOPPED,
    Ended,
    Options,
    Place,
    Spot,
)
from rwkv_music_tokenizers.abc_symbols import SHORT
from rwkv_music_tokenizers.abc_values import after
from rwkv_music_tokenizers.grammar import Limits

EOS = "\3"
# Signs that wait for one event.
MOST_MARKS = 4
LONGEST_WORDS = 40
PLACEMENTS = "^_<>@"
_WORDS = frozenset(map(chr, range(32, 127))) - frozenset('"\\%&;')
FIELDS = "KML"
# Decorations of single notes, never of chords.
STOPS = ".H"
TURNED = frozenset({"~", "T", "trill", "roll"})


def plain(spot: Spot, limits: Limits) -> dict[str, Place]:
    """What may begin at a spot between two words."""
    if spot.mode == "shut":
        sign = spot.text or "\n"
        return {sign: spot.but(mode="", text="", blank=sign == "\n", spaced=False)}
    if spot.graces >= 0:
        return {**in_graces(spot, limits)}
    if spot.chord is not None:
        return {**in_chord(spot, limits)}
    found: dict[str, Place] = {**_blanks(spot), **({} if spot.spaced or spot.blank else endings(spot))}
    if spot.ending < 0:
        return {**found, "[": spot.but(mode="[")}
    found |= lines(spot) | events(spot, limits) | _marks(spot, limits) | to_event(spot) | _groups(spot, limits)
    if may_end(spot):
        found[EOS] = Ended()
    if next_ending(spot) or _field_may_stand(spot, "") or begins_chord(spot, limits):
        found["["] = spot.but(mode="[")
    return found


def may_end(spot: Spot) -> bool:
    """The piece is complete."""
    closed = spot.line in FINAL and spot.blank and not (spot.repeat or spot.spaced)
    return closed and not (spot.owed or spot.slurs or spot.tied or spot.hangs or spot.ending < 0)


def _blanks(spot: Spot) -> Options:
    found: Options = {}
    rested = spot.but(room=spot.room.but(last=0), fresh=False, tones=())
    if not spot.spaced and spot.owed < CLOSE_NOTE:
        found[" "] = rested.but(spaced=True)
    if not (spot.sounds or spot.blank or spot.owed or spot.room.open or spot.ending < 0) and spot.line != "start":
        found["\n"] = rested.but(blank=True, spaced=False)
    return found


def _marks(spot: Spot, limits: Limits) -> Options:
    """Chord symbols, annotations, decorations and grace notes."""
    if spot.marks >= MOST_MARKS or not spot.room.lengths():
        return {}
    found: Options = {}
    waits = spot.but(line="", fresh=False, tones=(), blank=False, spaced=False)
    if spot.owed <= SOUND:
        found['"'] = waits.but(mode="quote")
    if spot.owed != NOTE and not spot.tied:
        if spot.owed <= SOUND:
            found["!"] = waits.but(mode="name", length=STOPPED)
        decorated = waits.but(owed=max(CLOSE_NOTE, spot.owed), marks=spot.marks + 1)
        turned = decorated.but(owed=CLOSE_TONE)
        found |= dict.fromkeys(SHORT, decorated) | dict.fromkeys(STOPS, decorated.but(length=STOPPED))
        found |= {"T": turned, "~": turned.but(length=max(spot.length, ROLLED))}
        if spot.room.bend:
            # A chord symbol between two bent notes takes the second from a roll.
            most = LASTING if spot.named else ROLLED
            found = {sign: one for sign, one in found.items() if isinstance(one, Spot) and one.length <= most}
        if spot.blank and _field_may_stand(spot, ""):
            # At the beginning of a line a letter may name a field.
            lines = [letter for letter in FIELDS if _field_may_stand(spot, letter) and spot.line != "start"]
            found |= {letter: spot.but(mode="letter", text=letter) for letter in lines}
    if not spot.tied and spot.owed < NOTE and any_note(spot.but(graces=0), limits):
        found["{"] = waits.but(mode="{", graces=0)
    return found


def to_event(spot: Spot) -> Options:
    """What is done to the event that was written last."""
    found: Options = {}
    if spot.owed:
        return found
    if spot.fresh:
        for sign in "><":
            if len(spot.tied) < 2 and any(spot.room.bent(sign, marks) for marks in range(1, BROKEN + 1)):
                found[sign] = spot.but(mode="broken", text=sign)
        if spot.tones and not spot.tied and _may_be_tied(spot):
            found["-"] = spot.but(tied=spot.tones, tones=())
    if spot.slurs and spot.sounds:
        found[")"] = spot.but(slurs=spot.slurs - 1, spaced=False)
    return found


def _may_be_tied(spot: Spot) -> bool:
    room = spot.room
    # A chord is tied, bent or part of a tuplet: not every program can do two of them.
    plain = len(spot.tones) == 1 or (room.last > 0 and not room.open)
    return plain and (room.lengths() > 0 or room.whole)


def _groups(spot: Spot, limits: Limits) -> Options:
    """Slurs and tuplets."""
    group = spot.but(mode="(", line="", fresh=False, tones=(), blank=False, spaced=False)
    may_open = spot.owed < NOTE and (settle_group(group, limits) or grow_group(group, limits))
    return {"(": group} if may_open else {}


def grow_quote(spot: Spot, limits: Limits) -> Options:
    """A chord symbol, or an annotation that says where it stands."""
    found: Options = {}
    done = spot.but(mode="", text="", owed=spot.owed or SOUND, marks=spot.marks + 1)
    if not spot.text:
        found = {sign: spot.but(text=sign) for sign in PLACEMENTS}
    if spot.text and spot.text[0] in PLACEMENTS:
        if len(spot.text) > 1:
            found['"'] = done
        if len(spot.text) <= LONGEST_WORDS:
            found |= {sign: spot.but(text=spot.text + ".") for sign in _WORDS}
    elif not spot.named and plays_symbols(spot.room):
        for sign in after("chord", spot.text):
            found[sign or '"'] = spot.but(text=spot.text + sign) if sign else done.but(named=True, symbols=True)
    return found


def grow_name(spot: Spot, limits: Limits) -> Options:
    """The name of a decoration."""
    turned = spot.owed == CLOSE_TONE or spot.text in TURNED
    done = spot.but(mode="", text="", owed=CLOSE_TONE if turned else CLOSE_NOTE, marks=spot.marks + 1)
    return {sign or "!": spot.but(text=spot.text + sign) if sign else done for sign in after("name", spot.text)}


def grow_brace(spot: Spot, limits: Limits) -> Options:
    return {"/": spot.but(mode="")}


def settle_brace(spot: Spot, limits: Limits) -> Spot | None:
    return spot.but(mode="")


def grow_bracket(spot: Spot, limits: Limits) -> Options:
    """After "[": a chord, an ending or a field."""
    found: Options = {}
    if next_ending(spot):
        found = endings(spot.but(mode=""))
    if spot.ending < 0:
        return found
    fields = [letter for letter in FIELDS if _field_may_stand(spot, letter)]
    found |= {letter: spot.but(mode="field", text="[" + letter) for letter in fields}
    return found | chord_notes(spot, limits)


def _field_may_stand(spot: Spot, letter: str) -> bool:
    begins = not (spot.sounds or spot.owed or spot.room.open or spot.tied or spot.marks or spot.ending < 0)
    return begins and (letter not in spot.fields if letter else len(spot.fields) < len(FIELDS))


def grow_letter(spot: Spot, limits: Limits) -> Options:
    return {":": spot.but(mode="field", text=spot.text + ":")}


def settle_letter(spot: Spot, limits: Limits) -> Spot | None:
    if spot.text not in SHORT or not spot.room.lengths():
        return None
    return spot.but(mode="", text="", line="", blank=False, spaced=False, owed=CLOSE_NOTE, marks=spot.marks + 1)


def grow_field(spot: Spot, limits: Limits) -> Options:
    """The value of a field in the music."""
    inline = spot.text.startswith("[")
    letter, colon, value = spot.text.lstrip("[").partition(":")
    if not colon:
        return {":": spot.but(text=spot.text + ":")}
    end = "]" if inline else "\n"
    found: Options = {}
    for sign in after("eighths" if letter == "M" and spot.symbols else letter, value):
        found[sign or end] = spot.but(text=spot.text + sign) if sign else end_field(spot, letter, value, limits)
    return found


def end_field(spot: Spot, letter: str, value: str, limits: Limits) -> Spot:
    """The spot after a field in the music, at the beginning of a bar."""
    inline = spot.text.startswith("[")
    spot = spot.but(
        mode="", text="", line=FIELD, blank=not inline, spaced=False, fields=spot.fields + letter, owed=NOTHING
    )
    if letter == "K":
        return with_key(spot, value, limits)
    meter = read_meter(value) if letter == "M" else None
    unit = read_unit(value) if letter == "L" else None
    room = new_room(unit or spot.room.unit, meter or spot.room.meter)
    return spot.but(room=room, upbeat=0 if meter else int(spot.upbeat * spot.room.step / room.step))


GROW: dict[str, Callable[[Spot, Limits], Options]] = {
    "note": grow_note,
    "sign": grow_sign,
    "rest": grow_rest,
    "whole": grow_whole,
    "close": grow_close,
    "bar": grow_bar,
    "(": grow_group,
    "broken": grow_broken,
    "quote": grow_quote,
    "name": grow_name,
    "{": grow_brace,
    "[": grow_bracket,
    "letter": grow_letter,
    "field": grow_field,
}
SETTLE: dict[str, Callable[[Spot, Limits], Spot | None]] = {
    "note": settle_note,
    "rest": settle_rest,
    "whole": settle_whole,
    "close": settle_close,
    "bar": settle_bar,
    "ending": settle_ending,
    "(": settle_group,
    "broken": settle_broken,
    "{": settle_brace,
    "letter": settle_letter,
}


def grown(spot: Spot, limits: Limits) -> Options:
    """What may carry on the word being written."""
    grow = GROW.get(spot.mode)
    return grow(spot, limits) if grow else {}


def settled(spot: Spot, limits: Limits) -> Spot | None:
    """The spot if the word being written is complete; None where it is not, or may not stand."""
    if spot.mode in ("", "shut"):
        return spot
    settle = SETTLE.get(spot.mode)
    return settle(spot, limits) if settle else None
