"""How many bars and quarters were made, told sign by sign: bars as musicians count them, upbeats for nothing."""

from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.score import Meter

HALF = Fraction(1, 2)


@dataclass
class Tally:
    """A bar line counts what its bar holds of the meter, 1 at most; what the last bar of a section lacks counts too.

    An upbeat, at most half a bar that opens a section, counts for nothing.
    """

    bars: Fraction = Fraction(0)
    quarters: Fraction = Fraction(0)
    # Quarters that the bar being written holds, and those of them that are counted.
    position: Fraction = Fraction(0)
    new: Fraction = Fraction(0)
    # The bar opens a section; what the last bar lacked.
    opens: bool = True
    lack: Fraction = Fraction(0)

    def clone(self) -> "Tally":
        return Tally(**self.__dict__)

    def begin(self) -> None:
        """Count from here."""
        self.bars = self.quarters = self.new = Fraction(0)

    def sound(self, quarters: Fraction) -> None:
        """An event was written."""
        self.quarters += quarters
        self.position += quarters
        self.new += quarters

    def rest_bars(self, bars: int) -> None:
        """A rest filled so many bars before the one that a line still ends."""
        self.bars += bars
        self.opens = False
        self.lack = Fraction(0)

    def sign(self, line: str, meter: Meter, sounds: bool) -> None:
        """The last sign of `line`, a bar line that may still grow, was written; `sounds`: after music."""
        if line == "|" and sounds:
            self._end_bar(meter, ends_section=False)
        elif line in (":|", "::"):
            self._end_bar(meter, ends_section=True)
        elif len(line) > 1:
            self._end_section()

    def line(self, line: str, meter: Meter, sounds: bool) -> None:
        """A whole bar line was written."""
        for end in range(1, len(line) + 1):
            self.sign(line[:end], meter, sounds)

    def _end_bar(self, meter: Meter, ends_section: bool) -> None:
        full = meter.bar or self.position or Fraction(1)
        whole = min(Fraction(1), self.position / full)
        upbeat = self.opens and whole <= HALF and not ends_section
        self.opens = False
        if not upbeat:
            self.bars += min(Fraction(1), self.new / full)
            self.lack = 1 - whole
        self.position = self.new = Fraction(0)
        if ends_section:
            self._end_section()

    def _end_section(self) -> None:
        self.bars += self.lack
        self.lack = Fraction(0)
        self.opens = True
