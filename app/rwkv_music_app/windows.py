"""A performance as it would be written, in windows of so many bars: a long sheet is drawn, and drawn anew, by these."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar

import numpy as np

from rwkv_music.works import Played
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.measures import measures
from rwkv_music_tokenizers.performance import START, Performance
from rwkv_music_tokenizers.score import Event, Meter, Part, Score

BARS = 32

Change = TypeVar("Change", Key, Meter)


@dataclass(frozen=True)
class Window:
    """Bars that are drawn together, as the page is told of them."""

    # Two windows of a take with the same name look the same.
    name: str
    # Milliseconds at which each of its bars begins.
    starts: tuple[int, ...]

    def plain(self) -> list[Any]:
        """As it is sent."""
        return [self.name, self.starts]


def windows(work: Played) -> tuple[Window, ...]:
    """All windows of a performance. Raises NotationError for one that is too long to be written."""
    score, starts = work.score, _starts(work.performance, work.score)
    return tuple(
        # Of this process alone, and quicker than a digest of everything written.
        Window(f"{hash(window_of(score, number)) & (1 << 64) - 1:016x}", tuple(starts[first : first + BARS]))
        for number, first in enumerate(range(0, len(starts), BARS))
    )


def window_of(score: Score, number: int) -> Score:
    """One window by its number, from 0: those parts that play in it, and the title over the first.

    Raises IndexError where there is none.
    """
    first = number * BARS
    if not 0 <= first < len(score.parts[0].bars):
        raise IndexError(f"no window {number}")
    playing = [part for part in score.parts if _plays(part, first)] or score.parts[:1]
    parts = tuple(
        replace(part, bars=part.bars[first : first + BARS], open=None if first else part.open) for part in playing
    )
    last = partial(_last, score.parts[0], first)
    meter, key = last(Meter) or score.meter, last(Key) or score.key
    if not first:
        return replace(score, parts=parts)
    return replace(score, parts=parts, meter=meter, key=key, tempo=None, fields=(), words=())


def bars_before(score: Score, number: int) -> int:
    """The number of the bar before a window, as musicians count: an upbeat is none."""
    return max(0, number * BARS - bool(measures(score)[0][0].start))


def _plays(part: Part, first: int) -> bool:
    bars = part.bars[first : first + BARS]
    layers = (layer for bar in bars for layer in (bar.items, *bar.overlays))
    return any(isinstance(item, Event) and item.tones for layer in layers for item in layer)


def _last(part: Part, until: int, kind: type[Change]) -> Change | None:
    """The last change of a kind before a bar."""
    found = (item for bar in reversed(part.bars[:until]) for item in reversed(bar.items) if isinstance(item, kind))
    return next(found, None)


def _starts(played: Performance, score: Score) -> list[int]:
    """Milliseconds at which each written bar begins."""
    written = measures(score)[0]
    first = min(int(track.notes[0, START]) for track in played.tracks if len(track.notes))
    full = written[0].meter.bar or Fraction(0)
    # An upbeat that begins with the first note; a first bar that is short for another reason begins with the piece.
    begun = written[0].start if 2 * first >= full * played.ticks else Fraction(0)
    ticks = np.array([float((begun + bar.onset) * played.ticks) for bar in written])
    return np.rint(played.seconds(ticks) * 1000).astype(int).tolist()
