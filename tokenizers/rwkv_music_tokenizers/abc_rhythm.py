"""How written ABC lengths become time: unit length, tuplets and broken rhythm, one event after another."""

import re
from fractions import Fraction

from rwkv_music_tokenizers.score import Meter, Tuplet

# Bounds of a written length (in units), of a tuplet's numbers, and of the marks of a broken rhythm.
LONGEST = 1024
FINEST = 512
LARGEST_TUPLET = 64
MOST_BROKEN = 5

LENGTH = re.compile(r"([0-9]*)(/*)([0-9]*)")
# Notes in whose time a tuplet is played when ABC does not say; the others take 3 in compound meter, else 2.
NORMAL = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
ONE = Fraction(1)
# Bars that one rest may fill, and what it fills in free meter.
LONGEST_REST = 1000
WHOLE = Fraction(4)


def read_multiplier(text: str) -> Fraction | None:
    """The factor that a note's length text puts on the unit: "" 1, "3" 3, "/" 1/2, "//" 1/4, "3/4" 3/4.

    None when it is nothing or beyond all music.
    """
    match = LENGTH.fullmatch(text)
    assert match is not None
    above = int(match[1] or 1)
    slashes = len(match[2])
    below = int(match[3]) << (slashes - 1) if match[3] else 1 << slashes
    if not 0 < above <= LONGEST * FINEST or not 0 < below <= FINEST or above > LONGEST * below:
        return None
    return Fraction(above, below)


def is_compound(meter: Meter) -> bool:
    """Beats of three: 6/8, 9/8, 12/8 and their like."""
    return meter.beat.numerator % 3 == 0


class Rhythm:
    """The state by which one layer's written lengths turn into sounding ones, in quarters."""

    def __init__(self, unit: Fraction, meter: Meter):
        self.meter = meter
        self._factor: Fraction | None = None
        self._ratio = ONE
        self._actual = self._normal = self._count = 0
        # Events the tuplet in progress still waits for.
        self.tuplet_left = 0
        self.set_unit(unit)

    def set_unit(self, unit: Fraction) -> None:
        self.unit = unit
        self._written: dict[str, Fraction | None] = {"": unit}

    def clone(self) -> "Rhythm":
        """A rhythm in the same state that goes its own way."""
        twin = Rhythm.__new__(Rhythm)
        twin.__dict__.update(self.__dict__)
        return twin

    def written(self, text: str) -> Fraction | None:
        """Quarters that a length text such as "3/2" writes; None when it is out of range."""
        if text not in self._written:
            multiplier = read_multiplier(text)
            self._written[text] = None if multiplier is None else multiplier * self.unit
        return self._written[text]

    def open_tuplet(self, text: str) -> bool:
        """Begin "(p:q:r"; False when its numbers make no tuplet."""
        actual, normal, count = (int(number or 0) for number in (text[1:].split(":") + ["", ""])[:3])
        normal = normal or NORMAL.get(actual) or (3 if is_compound(self.meter) else 2)
        count = count or actual
        if actual < 2 or max(actual, normal, count) > LARGEST_TUPLET:
            return False
        self._actual, self._normal, self._count = actual, normal, count
        self._ratio = Fraction(normal, actual)
        self.tuplet_left = count
        return True

    def take(self, written: Fraction) -> tuple[Fraction, Tuplet | None]:
        """The sounding length of the next event, and its place in a tuplet."""
        if self._factor is not None:
            written = written * self._factor
            self._factor = None
        if not self.tuplet_left:
            return written, None
        tuplet = Tuplet(self._actual, self._normal, self._count, self._count - self.tuplet_left)
        self.tuplet_left -= 1
        return written * self._ratio, tuplet

    def bend(self, marks: str) -> Fraction:
        """Begin a broken rhythm; return the factor for the event before its marks. The next gets the rest of 2."""
        short = Fraction(1, 1 << min(len(marks), MOST_BROKEN))
        long = 2 - short
        before, self._factor = (long, short) if marks[0] == ">" else (short, long)
        return before

    def drop(self) -> None:
        """Forget a tuplet or broken rhythm that waits for more."""
        self.tuplet_left = 0
        self._factor = None

    @property
    def waits(self) -> bool:
        """A broken rhythm waits for its second event."""
        return self._factor is not None
