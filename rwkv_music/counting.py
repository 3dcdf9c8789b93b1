"""How many bars a tune holds as it is written: upbeats count for nothing, and the last bar of a section for a whole."""

import re
from collections.abc import Iterator
from fractions import Fraction

from rwkv_music_tokenizers.abc_watch import Moment, Watch

HALF = Fraction(1, 2)
# The signs of bar lines one by one, and whatever stands between them.
PIECES = re.compile(r"[|:\]]|[^|:\]]+")


class BarCount:
    """Follows a tune. `bars` and `section` count bar lines, each of them what its bar holds of its meter, 1 at most.

    An upbeat, at most half a bar that opens a section, counts for nothing; what the last bar of a section lacks is
    thought to stand in one. So the count of a tune in whole bars is whole, wherever its upbeats are.
    """

    def __init__(self, before: str = ""):
        """Begin to count after the text `before`; what it holds of the bar at its end is not counted."""
        # Since the text before, and since the section began.
        self.bars = Fraction(0)
        self.section = Fraction(0)
        # Quarters of music since the text before, up to the last bar line.
        self.quarters = Fraction(0)
        # The last bar line ended an upbeat.
        self.upbeat = False
        # The line being written follows another one, with no music in between.
        self.line_again = False
        self._opens = True
        self._lack = Fraction(0)
        self._before = Fraction(0)
        self._last = ""
        self._watch = Watch()
        self.follow(before)
        self.bars = self.quarters = Fraction(0)
        self.line_again = False
        self._before = self.moment().position

    def moment(self) -> Moment:
        """Where the text stands."""
        return self._watch.now()

    def clone(self) -> "BarCount":
        """A count of the same text that goes its own way."""
        twin = BarCount.__new__(BarCount)
        twin.__dict__.update(self.__dict__)
        twin._watch = self._watch.clone()
        return twin

    def follow(self, text: str) -> None:
        """Take the next character or more."""
        for piece in _pieces(text):
            if piece in "|:]":
                self._line(piece)
            else:
                self._watch.feed(piece)
                self.line_again = False
            self._last = piece[-1]

    def unfinished(self) -> Fraction:
        """What the bar being written holds of its meter, 1 at most."""
        moment = self.moment()
        return self._part(moment.position - self._before, moment)

    def _part(self, length: Fraction, moment: Moment) -> Fraction:
        # Free meter: every bar is a whole one.
        full = moment.meter.bar or moment.position or Fraction(1)
        return min(Fraction(1), length / full)

    def _line(self, sign: str) -> None:
        before = self.moment()
        self._watch.feed(sign)
        if self._watch.now().bars > before.bars:
            self._end_bar(before, ends_section=self._last == ":")
        elif before.at_bar_line and self._last in ("\n", " "):
            self.line_again = True
        elif before.at_bar_line:
            self._end_section()

    def _end_bar(self, bar: Moment, ends_section: bool) -> None:
        whole = self._part(bar.position, bar)
        self.quarters += bar.position - self._before
        self.upbeat = self._opens and whole <= HALF and not ends_section
        if self._opens:
            self.section = Fraction(0)
        self._opens = False
        if not self.upbeat:
            self.bars += self._part(bar.position - self._before, bar)
            self.section += whole
            self._lack = 1 - whole
        self._before = Fraction(0)
        if ends_section:
            self._end_section()

    def _end_section(self) -> None:
        self.bars += self._lack
        self.section += self._lack
        self._lack = Fraction(0)
        self._opens = True


def _pieces(text: str) -> Iterator[str]:
    return (match[0] for match in PIECES.finditer(text))
