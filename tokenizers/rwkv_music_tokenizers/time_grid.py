"""From ticks to written time: music on a grid is taken exactly, what is performed freely is moved onto a chosen grid.

Times are fractions of a quarter note. A file counts in ticks, so a triplet is off by rounding and some writers begin
every note a tick late: what is within TOLERANCE of a written place is meant to be there.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.errors import NotationError

# Quarters, two ticks of 480.
TOLERANCE = Fraction(1, 200)
# Equal parts of a quarter whose places can be written: simplest first, 128th notes, triplets of 64ths.
WRITTEN = (1, 2, 4, 3, 8, 6, 16, 12, 32, 24, 5, 7)
# The share of notes that must be on written places for a piece to be one of written music.
ON_GRID = 0.95
# Grids of free playing by name: parts of a quarter of which each quarter takes those that fit it best.
GRIDS = {
    "1/8": (2,),
    "1/8t": (2, 3),
    "1/16": (4,),
    "1/16t": (4, 3),
    "1/32": (8,),
    "1/32t": (8, 6),
}
# A finer grid, or triplets, must come this much nearer to what was played than the simpler one.
_WORTH = 0.7


@dataclass(frozen=True)
class Grid:
    """Where the ticks of a piece are written. `moved` onsets of `count` were on no written place."""

    # None: the piece is on written places; else the name of the grid that it was moved to.
    name: str | None
    onsets: dict[int, Fraction]
    ends: dict[int, Fraction]
    count: int
    moved: int
    # The ends of notes that were on no written place.
    rounded: int


def find_grid(ticks: int, starts: Iterable[int], ends: Iterable[int], name: str = "") -> Grid:
    """The grid of notes at these ticks, `ticks` a quarter. `name` chooses one of GRIDS for what is on none.

    Raises NotationError for an unknown name.
    """
    if name and name not in GRIDS:
        raise NotationError(f"there is no grid {name!r}; choose one of {', '.join(GRIDS)}")
    starts, ends = list(starts), list(ends)
    written = _Written(ticks)
    places = {tick: written.place(tick) for tick in sorted({*starts, *ends})}
    moved = sum(places[tick] is None for tick in starts)
    rounded = sum(places[tick] is None for tick in ends)
    on_grid = moved <= (1 - ON_GRID) * len(starts)
    if on_grid and not name:
        onsets = {tick: _place_or(places[tick], tick, ticks, 16) for tick in set(starts)}
        # Notes that a player or a program lets go early are as long as their values.
        coarse = 4 if rounded > (1 - ON_GRID) * len(ends) else 16
        found = {tick: _place_or(places[tick], tick, ticks, coarse) for tick in set(ends)}
        return Grid(None, onsets, found, len(starts), moved, rounded)
    name = name or _best_grid(ticks, starts)
    parts, usual = _parts_of_quarters(ticks, starts, GRIDS[name]), GRIDS[name][0]
    onsets, found = (
        {tick: _place_or(None, tick, ticks, parts.get(tick // ticks) or usual) for tick in set(some)}
        for some in (starts, ends)
    )
    shifted = sum(abs(onsets[tick] - Fraction(tick, ticks)) > TOLERANCE for tick in starts)
    return Grid(name, onsets, found, len(starts), shifted, rounded)


def _place_or(place: Fraction | None, tick: int, ticks: int, parts: int) -> Fraction:
    return Fraction(round(Fraction(tick * parts, ticks)), parts) if place is None else place


class _Written:
    """The written places of a quarter of so many ticks."""

    def __init__(self, ticks: int):
        self.ticks = ticks
        simplest: dict[Fraction, int] = {}
        for rank, parts in enumerate(WRITTEN):
            for part in range(parts + 1):
                simplest.setdefault(Fraction(part, parts), rank)
        self._places = sorted(simplest)
        self._ranks = [simplest[place] for place in self._places]
        self._known: dict[int, Fraction | None] = {}

    def place(self, tick: int) -> Fraction | None:
        """The simplest written place within the tolerance of a tick, in quarters; None where there is none."""
        quarter, rest = divmod(tick, self.ticks)
        if rest not in self._known:
            self._known[rest] = self._near(Fraction(rest, self.ticks))
        place = self._known[rest]
        return None if place is None else quarter + place

    def _near(self, wanted: Fraction) -> Fraction | None:
        # A tick of a coarse file is a place of its own; half of one is as near as it can tell.
        reach = max(TOLERANCE, Fraction(1, 2 * self.ticks)) if self.ticks < 96 else TOLERANCE
        first = bisect_left(self._places, wanted - reach)
        near = []
        for number in range(first, len(self._places)):
            if self._places[number] > wanted + reach:
                break
            near.append((self._ranks[number], self._places[number]))
        return min(near)[1] if near else None


def _best_grid(ticks: int, starts: list[int]) -> str:
    """The grid that comes nearest to where notes begin, measured by what notes at random would be off."""
    best, least = "", float("inf")
    for name, parts in GRIDS.items():
        quarters = _parts_of_quarters(ticks, starts, parts)
        off = sum(_error(tick, ticks, quarters[tick // ticks]) * quarters[tick // ticks] for tick in starts)
        if off < least * _WORTH:
            best, least = name, off
    return best


def _parts_of_quarters(ticks: int, starts: list[int], choices: tuple[int, ...]) -> dict[int, int]:
    """Quarter -> into how many parts it is divided: the choice that its onsets are nearest to, the first when in doubt."""
    by_quarter: dict[int, list[int]] = {}
    for tick in starts:
        by_quarter.setdefault(tick // ticks, []).append(tick)
    found: dict[int, int] = {}
    for quarter, inside in by_quarter.items():
        chosen, least = choices[0], float("inf")
        for parts in choices:
            off = sum(_error(tick, ticks, parts) for tick in inside)
            if off < least * _WORTH:
                chosen, least = parts, off
        found[quarter] = chosen
    return found


def _error(tick: int, ticks: int, parts: int) -> float:
    """How far a tick is from the nearest of so many parts of a quarter, in quarters."""
    place = tick * parts / ticks
    return abs(place - round(place)) / parts
