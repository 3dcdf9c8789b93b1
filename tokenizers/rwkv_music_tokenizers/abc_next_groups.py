"""Which slurs, tuplets and broken rhythms may follow: those that can still come out in the bar."""

from rwkv_music_tokenizers.abc_room import BROKEN, TUPLETS, Room
from rwkv_music_tokenizers.abc_spot import MOST_SLURS, SOUND, Options, Spot
from rwkv_music_tokenizers.grammar import Limits


def grow_group(spot: Spot, limits: Limits) -> Options:
    """The numbers of a tuplet: "p", "p:q" or "p:q:r"."""
    found: Options = {}
    for sign in ":" if spot.text[-1:].isdecimal() else "123456789":
        text = spot.text + sign
        if sign == ":":
            fits = text.count(":") < 3 and any(_tuplet(spot.room, text + digit) for digit in "123456789")
        else:
            fits = _tuplet(spot.room, text)
        if fits:
            found[sign] = spot.but(text=text)
    return found


def _tuplet(room: Room, text: str) -> Room | None:
    numbers = [int(number) for number in text.split(":")]
    return room.with_tuplet(*numbers) if numbers[0] in TUPLETS else None


def settle_group(spot: Spot, limits: Limits) -> Spot | None:
    if not spot.text:
        if spot.slurs >= MOST_SLURS or not spot.room.lengths():
            return None
        return spot.but(mode="", owed=SOUND, slurs=spot.slurs + 1)
    room = None if spot.text.endswith(":") else _tuplet(spot.room, spot.text)
    return room and spot.but(mode="", text="", room=room)


def grow_broken(spot: Spot, limits: Limits) -> Options:
    sign, marks = spot.text[0], len(spot.text)
    more = any(spot.room.bent(sign, number) for number in range(marks + 1, BROKEN + 1))
    return {sign: spot.but(text=spot.text + sign)} if more else {}


def settle_broken(spot: Spot, limits: Limits) -> Spot | None:
    room = spot.room.bent(spot.text[0], len(spot.text))
    return room and spot.but(mode="", text="", room=room)
