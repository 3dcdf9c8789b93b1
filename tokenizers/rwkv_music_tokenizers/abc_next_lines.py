"""Which bar lines and endings may follow: bars add up, repeats close, a first ending has its second."""

from fractions import Fraction

from rwkv_music_tokenizers.abc_room import Room, new_room
from rwkv_music_tokenizers.abc_spot import NOTHING, PLAINLY, UNREPEATED, WITH_ENDINGS, Options, Spot
from rwkv_music_tokenizers.grammar import Limits

LINES = ("|", "||", "|]", "|:", ":|", "::")
ENDS = frozenset({":|", "::"})
STARTS = frozenset({"|:", "::"})
# A field stands where the bar begins.
FIELD = "field"
# Lines after which the piece may be over, once its line of text is.
FINAL = frozenset({"||", "|]", ":|", DOUBLED := "|| ||"})
# Quarters that a program plays a chord symbol at a time, in most meters and in bars of five or seven quarters.
EIGHTH, QUARTER = Fraction(1, 2), Fraction(1)


def lines(spot: Spot) -> Options:
    """The signs that begin a bar line."""
    if spot.owed or spot.room.open:
        return {}
    return _signs(spot.but(mode="bar"))


def grow_bar(spot: Spot, limits: Limits) -> Options:
    """The signs that carry a bar line on."""
    return _signs(spot)


def _signs(spot: Spot) -> Options:
    found: Options = {}
    for line in LINES:
        if line.startswith(spot.text) and line != spot.text and may_stand(spot, line):
            sign = line[len(spot.text)]
            found[sign] = spot.but(text=spot.text + sign)
    return found


def settle_bar(spot: Spot, limits: Limits) -> Spot | None:
    """The beginning of the bar after a line; None where the line is not complete or may not stand."""
    line = spot.text
    if line not in LINES or not may_stand(spot, line):
        return None
    divides, whole = line != "|", spot.room.whole
    ends_first = spot.ending == 1 and line in ENDS
    return spot.but(
        room=new_room(spot.room.unit, spot.room.meter),
        mode="",
        text="",
        sounds=False,
        opens=divides or not spot.sounds,
        line=DOUBLED if divides and line != "|:" and not spot.sounds else line,
        blank=False,
        spaced=False,
        repeat=line in STARTS or (spot.repeat and line not in ENDS),
        repeated=_repeated(spot, line),
        ending=-1 if ends_first else 0 if divides else spot.ending,
        bars=not divides and (spot.bars or whole),
        upbeat=spot.room.full - spot.room.left if spot.opens and spot.sounds and not whole else spot.upbeat,
        fresh=False,
        tones=(),
        hangs=hangs(spot) if spot.sounds else spot.hangs,
        fields="",
        altered=(None,) * len(spot.altered),
    )


def _repeated(spot: Spot, line: str) -> int:
    if line in STARTS:
        return UNREPEATED
    if line not in ENDS or spot.ending > 1:
        return spot.repeated
    return WITH_ENDINGS if spot.ending else PLAINLY


def plays_symbols(room: Room) -> bool:
    """Bars hold whole eighths, so that what is played to chord symbols ends with them."""
    return (room.quarters(room.full) / EIGHTH).denominator == 1


def hangs(spot: Spot) -> bool:
    """What is played to chord symbols would sound beyond a bar that ended here; a piece does not end so."""
    room, bar = spot.room, spot.room.meter.bar
    if not spot.symbols or not plays_symbols(room):
        return False
    by_quarters = bar is not None and bar > 3 and bar.denominator == 1 and bar.numerator % 2
    played = room.quarters(room.full - room.left) / (QUARTER if by_quarters else EIGHTH)
    return played.denominator > 1


def may_stand(spot: Spot, line: str) -> bool:
    divides = line != "|"
    if divides and (spot.slurs or (spot.tied and line != "||")):
        return False
    if spot.ending < 0 or (spot.ending == 1 and divides and line != ":|"):
        return False
    if spot.repeat and line in ("|:", "||", "|]"):
        return False
    if not spot.sounds:
        return _may_stand_again(spot, line)
    if line == "::" and spot.repeated and not spot.repeat:
        return False
    if spot.room.whole:
        return True
    if line in ENDS:
        return spot.bars
    # The bar that opens a section may be an upbeat, the one that ends it what an upbeat is missing there.
    return (spot.opens and not spot.tied) or (divides and spot.bars)


def _may_stand_again(spot: Spot, line: str) -> bool:
    """The line may stand where a bar begins: a repeat starts, or a section that was over is closed once more."""
    if line == "|":
        return spot.line == "start"
    if line in ("||", "|]"):
        return spot.line in ("|", "||", "|]", ":|") and (spot.spaced or spot.blank)
    return line == "|:" and spot.line in ("start", FIELD, "|", "||", "|]", ":|", DOUBLED)


def made_up(spot: Spot) -> bool:
    """What the bar lacks stands in the upbeat."""
    return not spot.room.open and spot.sounds and spot.room.left == spot.upbeat > 0


def endings(spot: Spot) -> Options:
    """The number of an ending that may begin here, without its bracket."""
    number = next_ending(spot)
    return {str(number): spot.but(mode="ending", text=str(number))} if number else {}


def next_ending(spot: Spot) -> int:
    if spot.ending < 0:
        return 1 - spot.ending
    # Without "|:" a repeat goes back to the last ":|" in some programs, and over endings in none.
    wanted = spot.line == "|" and spot.bars and not spot.ending and (spot.repeat or spot.repeated != PLAINLY)
    return 1 if wanted and not (spot.tied or spot.slurs or spot.sounds) else 0


def settle_ending(spot: Spot, limits: Limits) -> Spot | None:
    return spot.but(
        mode="",
        text="",
        ending=int(spot.text),
        opens=False,
        bars=True,
        line="",
        blank=False,
        spaced=False,
        owed=NOTHING,
    )
