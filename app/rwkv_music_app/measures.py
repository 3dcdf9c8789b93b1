"""Where the bars of a take lie: in time, in its ABC, and in its tokens, from any of which one can go on."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from rwkv_music.compose import Piece
from rwkv_music.works import Tune, Work
from rwkv_music_tokenizers.grammar import NO_LIMITS
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.unfold import unfold

MOST_BARS = 100_000
# Of an offset just behind a bar line: inside the bar that the line ends, whatever closing a tune moves.
INSIDE = 1.5


@dataclass(frozen=True)
class Measure:
    """One bar as it is played."""

    # Milliseconds.
    start: int
    end: int
    # By which `Session.several(bar=...)` goes on after it; None where one cannot.
    after: int | None
    # Bits a note; None where no note begins in it.
    surprise: float | None
    # Where it stands in the ABC; None for a performance.
    place: int | None = None
    # Its number among the bars that are written, from 1.
    number: int = 0

    def plain(self) -> list[Any]:
        """As it is sent."""
        return [self.start, self.end, self.after, self.surprise, self.place, self.number]


def measures(piece: Piece, work: Work, played: Performance, bits: np.ndarray) -> list[Measure]:
    """The bars of a piece in the order they are played.

    bits: (n,), by how much each of its tokens but the first surprised, or only the first n of them. Raises
    NotationError for what cannot be played.
    """
    if isinstance(work, Tune):
        return _of_tune(piece, work, played, bits)
    return _of_performance(piece, played, bits)


def _of_tune(piece: Piece, tune: Tune, played: Performance, bits: np.ndarray) -> list[Measure]:
    """Repeats are played out: a bar that is written once may be there twice."""
    lines = np.cumsum([0, *(len(line) + 1 for line in tune.abc.split("\n"))])
    score = tune.score
    places = sorted(
        int(lines[bar.place.line - 1]) + bar.place.column - 1 for bar in score.parts[0].bars if bar.place is not None
    )
    number_of = {place: number for number, place in enumerate(places)}
    lengths, given = _lengths(piece), piece.manuscript.beginning
    where = _where("".join(map(piece.manuscript.shown, piece.made)), tune.abc[len(given) :])
    offsets = [len(given) + where[length] for length in lengths]
    owners = [bisect_right(places, offset - INSIDE) - 1 for offset in offsets]
    after = {owner: moment for moment, owner in enumerate(owners) if owner >= 0}
    prompt = bisect_left(places, len(given.rstrip()))
    surprise = _surprise(piece, bits, lengths, owners, prompt)
    found, time = [], Fraction(0)
    for bar in unfold(score).parts[0].bars[:MOST_BARS]:
        place = None if bar.place is None else int(lines[bar.place.line - 1]) + bar.place.column - 1
        number = number_of.get(place, -1) if place is not None else -1
        start, time = time, time + bar.length
        ends = played.seconds(np.array([start * played.ticks, time * played.ticks], dtype=np.float64))
        first, last = np.rint(ends * 1000).astype(int).tolist()
        found.append(Measure(first, last, after.get(number), surprise.get(number), place, number + 1))
    return found


def _where(made: str, written: str) -> list[int]:
    """Where each place of new music, 0..n, stands in what is written of it.

    Closing a tune leaves out a newline after that of a prompt, and the beginning of a repeat that nothing ends; what it
    puts in stands at the end.
    """
    found, place = [0], 0
    for character in made:
        place += written.startswith(character, place)
        found.append(place)
    return found


def _of_performance(piece: Piece, played: Performance, bits: np.ndarray) -> list[Measure]:
    edges = _bar_lines(played)
    lengths = _lengths(piece)
    prompt_end = piece.manuscript.work((), False).performance
    begun = edges[bisect_left(edges, prompt_end.end * played.ticks // max(1, prompt_end.ticks))] if len(edges) else 0
    quarters = _quarters(piece, lengths)
    owners = [_nearest(edges, begun + float(quarter) * played.ticks) - 1 for quarter in quarters]
    after = {owner: moment for moment, owner in enumerate(owners) if owner >= 0}
    surprise = _surprise(piece, bits, lengths, owners, owners[0] + 1)
    times = np.rint(played.seconds(np.array(edges, dtype=np.float64)) * 1000).astype(int).tolist()
    return [
        Measure(start, end, after.get(number), surprise.get(number), None, number + 1)
        for number, (start, end) in enumerate(pairwise(times))
    ]


def _bar_lines(played: Performance) -> list[int]:
    """The tick of every bar line, from the first to the one after the last note."""
    end, edges, tick = played.end, [0], 0.0
    changes = [*played.meters.tolist()[1:], [end + 1, 4, 4]]
    for (_, beats, unit), (until, *_) in zip(played.meters.tolist(), changes, strict=True):
        length = max(1.0, played.ticks * 4 * beats / unit)
        while tick < min(until, end) and len(edges) < MOST_BARS:
            tick += length
            edges.append(round(tick))
    return edges


def _nearest(edges: Sequence[int], tick: float) -> int:
    place = bisect_left(edges, tick)
    near = [number for number in (place - 1, place) if 0 <= number < len(edges)]
    return min(near, key=lambda number: abs(edges[number] - tick))


def _quarters(piece: Piece, lengths: Sequence[int]) -> list[Fraction]:
    """Quarters of new music at each of some lengths."""
    grammar, made = piece.manuscript.grammar(True, NO_LIMITS), piece.made
    found, place = [], 0
    for length in lengths:
        for token in made[place:length]:
            grammar.follow(token)
        place = length
        found.append(grammar.quarters)
    return found


def _lengths(piece: Piece) -> list[int]:
    """New tokens at each bar line from which one can go on, as `Session.bars` counts them."""
    return [moment.length - piece.prompt_length for moment in list(piece.moments)] or [0]


def _surprise(
    piece: Piece, bits: np.ndarray, lengths: Sequence[int], owners: Sequence[int], prompt: int
) -> dict[int, float]:
    """Bits a note of the bars, by number; the first `prompt` of them are the prompt's."""
    manuscript = piece.manuscript
    tokens = [*manuscript.heard(), *piece.made]
    marks = [*manuscript.marks(), piece.prompt_length]
    # Where marks are fewer than bars, an upbeat shares the mark of the bar after it.
    ranges = [(prompt - len(marks) + 1 + number, start, stop) for number, (start, stop) in enumerate(pairwise(marks))]
    ends = [piece.prompt_length + length for length in lengths]
    ranges += [(owner, start, stop) for owner, (start, stop) in zip(owners[1:], pairwise(ends), strict=True)]
    found = {}
    for number, start, stop in ranges:
        notes = manuscript.notes(tokens[start:stop])
        if notes and 0 < start < stop <= len(bits) + 1:
            found[number] = round(float(bits[start - 1 : stop - 1].sum()) / notes, 2)
    return found
