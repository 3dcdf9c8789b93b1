"""The two clocks of notes: 1/24 of a quarter on the grid of the bars, or 10 ms as it was played."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Literal, overload

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import QUARTER
from rwkv_music_tokenizers.performance import Performance

Clock = Literal["grid", "perf"]
# The longest piece, in units: a day and a night of 4/4 at 120, or half of one as played.
MOST_UNITS = 1 << 22
PERFORMED_SECONDS = 0.01
# Of performed notes one in four begins so near to the grid (in units); of written ones most, for all their quintuplets.
_NEAR = 0.1
_NEAR_ENOUGH = 0.5
# A piece that the grid puts this far wrong on average is better kept as it was played.
_FITS_SECONDS = 0.01
# Where a quarter has fewer ticks, performed notes are near to the grid too. But of its 24 places in a quarter they take
# those of thirty-seconds and of sixteenth triplets half the time, and written ones nearly always.
_COARSE = 72
_PLAIN_PLACES = np.array([place % 3 == 0 or place % 4 == 0 for place in range(QUARTER)])
_PLAIN_ENOUGH = 0.7
# So few notes fit by chance, unless they fit exactly.
_FEW = 4


@overload
def grid_units(ticks: int, quarter: int) -> int: ...
@overload
def grid_units(ticks: np.ndarray, quarter: int | np.ndarray) -> np.ndarray: ...
def grid_units(ticks: int | np.ndarray, quarter: int | np.ndarray) -> int | np.ndarray:
    """A tick, or an array of them, on the grid: the nearest units. quarter: the ticks of a quarter, of all or of each."""
    return (2 * QUARTER * ticks + quarter) // (2 * quarter)


def perf_units(performance: Performance, ticks: np.ndarray) -> np.ndarray:
    """Ticks, an array, on the performed clock: the nearest units."""
    return np.round(performance.seconds(ticks) / PERFORMED_SECONDS).astype(np.int64)


def choose_clock(performance: Performance, onsets: np.ndarray, exact: bool) -> Clock:
    """The clock of a piece whose notes begin at `onsets` (ticks): the grid where they lie on it, else perf.

    exact: whether all onsets are on the grid.
    """
    ticks = performance.ticks
    if not len(onsets) or (exact and ticks >= _COARSE):
        return "grid"
    units = grid_units(onsets, ticks)
    off = np.abs(QUARTER * onsets - units * ticks)
    tempos = performance.tempos[np.searchsorted(performance.tempos[:, 0], onsets, side="right") - 1, 1]
    if len(onsets) < _FEW:
        fits = exact
    elif ticks < _COARSE:
        fits = _PLAIN_PLACES[units % QUARTER].mean() >= _PLAIN_ENOUGH
    else:
        fits = (off <= _NEAR * ticks).mean() >= _NEAR_ENOUGH
    return "grid" if fits and (off * tempos).mean() < _FITS_SECONDS * 1e6 * QUARTER * ticks else "perf"


def held_by_pedal(ends: np.ndarray, pedals: np.ndarray) -> np.ndarray:
    """When notes that end at `ends` (n,) fall silent, given when the pedal is down (m, 2): those held end with it."""
    if not len(pedals):
        return ends
    place = np.searchsorted(pedals[:, 0], ends, side="right") - 1
    return np.where(place >= 0, np.maximum(ends, pedals[place, 1]), ends)


def changes_of(told: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Values told (time, value), in order of time: the last of each time, where it differs from the one before."""
    changes: list[tuple[int, int]] = []
    for time, value in dict(sorted(told, key=itemgetter(0))).items():
        if not changes or changes[-1][1] != value:
            changes.append((time, value))
    return changes
