"""Where the bar lines of a performance are: full bars of the meter, and an upbeat where the first bar is plainly short."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.abc_fields import read_meter
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.score import Meter

# Bars that a piece may have: far beyond any, and written within seconds.
MOST_BARS = 5_000


@dataclass(frozen=True)
class Ruled:
    """A bar in quarters. `start` is how far into its measure it begins: not 0 for an upbeat."""

    onset: Fraction
    length: Fraction
    meter: Meter
    start: Fraction = Fraction(0)

    @property
    def end(self) -> Fraction:
        return self.onset + self.length


def meter_of(beats: int, note: int) -> Meter:
    """A time signature as MIDI tells it."""
    found = read_meter(f"{beats}/{note}")
    assert found is not None, "a MIDI meter can always be written"
    return found


def rule(meters: Sequence[tuple[Fraction, Meter]], first: Fraction, end: Fraction) -> list[Ruled]:
    """The bars from the first note of a piece to its end; a change of meter ends a bar wherever it is.

    The piece begins with an upbeat where its first bar is silent up to its second half or later, or where the first
    change of meter is not on a bar line counted from the beginning. Raises NotationError for more than MOST_BARS.
    """
    full = _bar(meters[0][1])
    begin, line = Fraction(0), full
    if full / 2 <= first < full:
        begin = first
    elif len(meters) > 1 and meters[1][0] % full and first < full / 2:
        line = meters[1][0] % full
    bars: list[Ruled] = []
    for number, (_, meter) in enumerate(meters):
        stop = min(end, meters[number + 1][0]) if number + 1 < len(meters) else end
        while begin < stop or not bars:
            if not bars:
                bars.append(Ruled(begin, line - begin, meter, full - line + begin))
            else:
                # What the next meter cuts is short, what the piece's end cuts is full all the same.
                length = _bar(meter) if stop == end else min(_bar(meter), stop - begin)
                bars.append(Ruled(begin, length, meter))
            begin = bars[-1].end
            if len(bars) > MOST_BARS:
                raise NotationError(f"more than {MOST_BARS:,} bars; only shorter pieces can be written in notes")
    return _closed(bars, end)


def _bar(meter: Meter) -> Fraction:
    assert meter.bar is not None, "MIDI knows no free meter"
    return meter.bar


def _closed(bars: list[Ruled], end: Fraction) -> list[Ruled]:
    """After an upbeat, a last bar that is played just so far that the two make a measure ends there."""
    first, last = bars[0], bars[-1]
    left = _bar(last.meter) - first.length
    if len(bars) > 1 and first.start and left > 0 and last.onset < end <= last.onset + left:
        bars[-1] = Ruled(last.onset, left, last.meter)
    return bars
