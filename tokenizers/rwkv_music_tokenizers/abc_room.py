"""The room in a bar: how much time is left, and which written lengths still let tuplets and broken rhythms come out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import Any, NamedTuple, TypeVar

from rwkv_music_tokenizers.abc_rhythm import MOST_BROKEN, NORMAL, is_compound
from rwkv_music_tokenizers.score import Meter

# A unit can be cut into so many steps, and into 64ths of a whole note.
FINEST = 8
STEPS_OF_QUARTER = 16
# Beyond this a length's denominator cannot be read any more; such a meter counts as free.
MOST_PARTS = 256
# Steps of a bar; one of more is counted as free as well.
MOST_STEPS = 16_384
# Quarters that a bar in free meter may hold.
FREE_BAR = 32
# Numbers of a tuplet, and marks of a broken rhythm, that are written.
TUPLETS = range(2, 10)
BROKEN = 3


@dataclass(frozen=True, eq=False)
class Basis:
    """What music is counted in; there is one object for each unit and meter, so that it is compared at once."""

    # Quarters.
    unit: Fraction
    meter: Meter


@lru_cache(maxsize=1024)
def basis_of(unit: Fraction, meter: Meter) -> Basis:
    """The object for a unit and meter."""
    return Basis(unit, meter)


Fields = TypeVar("Fields", bound=NamedTuple)


@lru_cache
def _places(kind: type[NamedTuple]) -> dict[str, int]:
    return {name: place for place, name in enumerate(kind._fields)}


def changed(fields: Fields, changes: Mapping[str, Any]) -> Fields:
    """A named tuple with other values in some fields."""
    places = _places(type(fields))
    values = list(fields)
    for name, value in changes.items():
        values[places[name]] = value
    return tuple.__new__(type(fields), values)


class Room(NamedTuple):
    """The time of a bar in steps, `parts` of them a unit; lengths are sets of steps, bit n for n steps."""

    basis: Basis
    parts: int
    # Steps of a full bar, and those left before the tuplet that is being written.
    full: int
    left: int
    # Steps of the event that a broken rhythm may still bend; 0 for none.
    last: int = 0
    # The tuplet being written: its numbers, events to come, and steps written.
    actual: int = 0
    normal: int = 0
    waiting: int = 0
    held: int = 0
    # Marks of the broken rhythm that waits for its second event, positive for ">", and what the first was written as.
    bend: int = 0
    pair: int = 0

    def but(self, **changes: Any) -> "Room":
        """The same room but for some fields."""
        return changed(self, changes)

    @property
    def unit(self) -> Fraction:
        return self.basis.unit

    @property
    def meter(self) -> Meter:
        return self.basis.meter

    @property
    def open(self) -> bool:
        """A tuplet or a broken rhythm waits for more."""
        return self.waiting > 0 or self.bend != 0

    @property
    def whole(self) -> bool:
        """The bar may end here; in free meter after any event."""
        return not self.open and (self.left == 0 or (self.meter.bar is None and self.left < self.full))

    @property
    def step(self) -> Fraction:
        """Quarters of a step."""
        return self.unit / self.parts

    def quarters(self, steps: int) -> Fraction:
        return steps * self.unit / self.parts

    def lengths(self) -> int:
        """The written lengths that the next event may have."""
        if not self.waiting and not self.bend:
            return (2 << self.left) - 2
        return _lengths(self)

    def scaled(self, steps: int) -> int:
        """What an event of that written length takes, a tuplet left aside."""
        marks = abs(self.bend)
        short = steps >> marks
        return steps if not marks else short if self.bend > 0 else 2 * steps - short

    def takes(self, steps: int) -> Fraction:
        """Quarters that an event of that written length sounds here."""
        ratio = Fraction(self.normal, self.actual) if self.waiting else Fraction(1)
        return self.quarters(self.scaled(steps)) * ratio

    def take(self, steps: int) -> "Room":
        """The room after an event of that written length."""
        taken = self.scaled(steps)
        # Of three notes with marks between them nobody knows which pair is meant.
        last = 0 if self.bend else taken
        if not self.waiting:
            return self.but(left=max(0, self.left - taken), last=last, bend=0, pair=0)
        if self.waiting > 1:
            return self.but(waiting=self.waiting - 1, held=self.held + taken, last=last, bend=0, pair=0)
        left = self.left - (self.held + taken) * self.normal // self.actual
        return self.but(left=max(0, left), last=0, actual=0, normal=0, waiting=0, held=0, bend=0, pair=0)

    def bent(self, sign: str, marks: int) -> "Room | None":
        """The room after a broken rhythm's marks; None where it cannot come out."""
        marks = min(marks, MOST_BROKEN)
        if not self.last or self.bend or self.last % (1 << marks):
            return None
        change = self.last - (self.last >> marks)
        if sign == "<":
            change, marks = -change, -marks
        if self.waiting:
            room = self.but(held=self.held + change, last=0, bend=marks, pair=self.last)
        else:
            room = self.but(left=self.left - change, last=0, bend=marks, pair=self.last)
        return room if room.left >= 0 and room.lengths() else None

    def longer(self, sign: str, marks: int) -> Fraction:
        """Quarters by which a broken rhythm's marks make the event before them longer."""
        change = self.last - (self.last >> marks)
        ratio = Fraction(self.normal, self.actual) if self.waiting else Fraction(1)
        return self.quarters(change if sign == ">" else -change) * ratio

    def with_tuplet(self, actual: int, normal: int = 0, count: int = 0) -> "Room | None":
        """The room after "(p:q:r"; None where it cannot come out."""
        if self.open:
            return None
        normal = normal or NORMAL.get(actual) or (3 if is_compound(self.meter) else 2)
        room = self.but(actual=actual, normal=normal, waiting=count or actual, held=0, last=0)
        return room if _comes_out(room, 0, room.waiting) else None

    def mended(self) -> "Room":
        """The room with as much more as it needs for the tuplet or broken rhythm that a prompt left open."""
        if not self.open or self.lengths():
            return self
        marks = abs(self.bend)
        first = 2 * (1 << marks) - 1 if self.bend < 0 else 1
        total = self.held + first + max(0, self.waiting - 1)
        if self.waiting:
            modulus = self.actual // gcd(self.actual, self.normal)
            total = (total + -total % modulus) * self.normal // self.actual
        room = self.but(left=total)
        # Where even that does not come out the signs are passed over.
        return room if room.lengths() else self.but(left=0, bend=0, pair=0, actual=0, normal=0, waiting=0, held=0)

    def at(self, position: Fraction) -> "Room":
        """The room of a bar that holds `position` quarters; none is left where no length can fill it."""
        fresh = new_room(self.unit, self.meter)
        left = (fresh.quarters(fresh.full) - position) / self.unit
        parts = lcm(fresh.parts, left.denominator)
        if left < 0 or parts > MOST_PARTS or fresh.full * parts > MOST_STEPS * fresh.parts:
            return fresh.but(left=0)
        return fresh.but(parts=parts, full=fresh.full * parts // fresh.parts, left=int(left * parts))


@lru_cache(maxsize=1024)
def new_room(unit: Fraction, meter: Meter) -> Room:
    """A bar with nothing in it yet."""
    parts = FINEST
    while parts < min(STEPS_OF_QUARTER * unit, MOST_PARTS):
        parts *= 2
    bar = meter.bar
    if bar is not None:
        parts = lcm(parts, (bar / unit).denominator)
        if parts > MOST_PARTS or bar / unit * parts > MOST_STEPS:
            return new_room(unit, Meter("none", None))
    full = min(MOST_STEPS, int((FREE_BAR if bar is None else bar) / unit * parts))
    return Room(basis_of(unit, meter), parts, full, full)


@lru_cache(maxsize=65536)
def _lengths(room: Room) -> int:
    marks = abs(room.bend)
    found = 0
    step = 1 << marks
    # Inside a tuplet more can be written than sounds, and a bent note is written longer than it is.
    most = room.left if not room.waiting else room.left * room.actual // room.normal
    for steps in (room.pair,) if room.pair else range(step, (most << marks) + 1, step):
        taken = room.scaled(steps)
        if taken > most or steps % step:
            break
        if not room.waiting or _comes_out(room, room.held + taken, room.waiting - 1):
            found |= 1 << steps
    return found


def _comes_out(room: Room, held: int, more: int) -> bool:
    """So many more events, of one step or more, can bring the tuplet to whole steps within the bar."""
    modulus = room.actual // gcd(room.actual, room.normal)
    total = held + more
    total += -total % modulus
    return (more > 0 or total == held) and total * room.normal // room.actual <= room.left


@lru_cache(maxsize=512)
def length_texts(parts: int, most: int) -> tuple[dict[str, int], dict[str, int]]:
    """How lengths of 1..most steps are written.

    The first dictionary gives for every beginning of such a text the set of lengths that it can lead to, the second
    for every complete one its length.
    """
    leads: dict[str, int] = {}
    lengths: dict[str, int] = {}
    for below in (number for number in range(1, parts + 1) if parts % number == 0):
        for above in (number for number in range(1, most * below // parts + 1) if gcd(number, below) == 1):
            steps = above * parts // below
            for text in _written(above, below):
                lengths[text] = steps
                for end in range(len(text) + 1):
                    leads[text[:end]] = leads.get(text[:end], 0) | 1 << steps
    return leads, lengths


def _written(above: int, below: int) -> Iterator[str]:
    number = str(above)
    if below == 1:
        yield number
        if above == 1:
            yield ""
        return
    for head in (number, "") if above == 1 else (number,):
        yield f"{head}/{below}"
        if below in (2, 4, 8):
            yield head + "/" * (below.bit_length() - 1)
