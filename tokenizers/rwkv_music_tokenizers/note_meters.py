"""Where the bars of a piece lie on the grid, in meters of the vocabulary."""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from math import ceil, log2

import numpy as np

from rwkv_music_tokenizers.note_clocks import changes_of
from rwkv_music_tokenizers.note_vocabulary import METER_UNITS, METERS, QUARTER
from rwkv_music_tokenizers.performance import DEFAULT_METER

_PLACES = {meter: place for place, meter in enumerate(METERS)}
_LONGEST_BAR = int(METER_UNITS.max())
# The shortest bar of the vocabulary, 1/32; every bar begins at a multiple of it.
BEAT = int(METER_UNITS.min())
# What no MIDI file can say is not taken for a meter.
_MOST_BEATS = 255


@lru_cache(maxsize=1024)
def listed_meter(beats: int, beat: int) -> int:
    """The place in the vocabulary of the meter that stands for beats/beat.

    A meter that is not there becomes one of the same length (14/32: 7/16), a bar longer than 8 quarters is cut into the
    fewest equal bars: of the same beat where that can be (9/4: 3/4), else of any (5/2: 5/4). A bar that is no multiple
    of 1/32 becomes the nearest. What is no meter is 4/4.
    """
    if (beats, beat) in _PLACES:
        return _PLACES[beats, beat]
    if not (0 < beats <= _MOST_BEATS and beat > 0):
        return _PLACES[DEFAULT_METER]
    for parts in range(2, beats // 2 + 1):
        if beats % parts == 0 and (beats // parts, beat) in _PLACES:
            return _PLACES[beats // parts, beat]
    units = Fraction(4 * QUARTER * beats, beat)
    fewest = max(ceil(units / _LONGEST_BAR), 1)
    for parts in range(fewest, int(units / BEAT) + 1):
        same = np.flatnonzero(np.isclose(METER_UNITS, float(units / parts), rtol=0, atol=1e-6))
        if len(same):
            return int(min(same, key=lambda place: abs(log2(METERS[place][1] / beat))))
    return int(np.argmin(np.abs(METER_UNITS - float(units / fewest))))


@lru_cache(maxsize=1024)
def _partial_bar(units: int) -> tuple[int, ...]:
    """Meters that fill what is left of a bar (a multiple of 1/32), told in quarters, eighths or sixteenths."""
    beat = next((beat for beat in (4, 8, 16) if units * beat % (4 * QUARTER) == 0), None)
    if beat:
        return (_PLACES[units * beat // (4 * QUARTER), beat],)
    return (*(_partial_bar(units - BEAT) if units > BEAT else ()), _PLACES[1, 32])


def lay_bars(meters: Sequence[Sequence[int]], last: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Bars up to the one in which unit `last` lies: where they begin (n,), and each change of meter, (bar, place).

    meters: (unit, beats, beat) in order. A change begins a bar, whatever the bars before it lack: what does not fill
    one is a shorter bar with a meter of its own, the first of the piece (an upbeat that the file does not tell) or the
    last before the change. Changes are moved to the nearest 1/32.
    """
    told: dict[int, int] = {0: listed_meter(*DEFAULT_METER)}
    for unit, beats, beat in meters:
        told[(2 * unit + BEAT) // (2 * BEAT) * BEAT] = listed_meter(beats, beat)
    if len(told) == 1:
        return np.arange(0, last + 1, METER_UNITS[told[0]]), [(0, told[0])]
    begins = [unit for unit in told if unit <= last]
    # (place, how many bars)
    runs: list[tuple[int, int]] = []
    for unit, until in zip(begins, [*begins[1:], None], strict=True):
        length = int(METER_UNITS[told[unit]])
        count, rest = ((last - unit) // length + 1, 0) if until is None else divmod(until - unit, length)
        partial = [(place, 1) for place in (_partial_bar(rest) if rest else ())]
        runs += [(told[unit], count), *partial] if unit else [*partial, (told[unit], count)]
    runs = [(place, count) for place, count in runs if count]
    bars = accumulate((count for _, count in runs), initial=0)
    changes = changes_of((bar, place) for bar, (place, _) in zip(bars, runs, strict=False))
    lengths = np.repeat(METER_UNITS[[place for place, _ in runs]], [count for _, count in runs])
    return np.cumsum(lengths) - lengths, changes
