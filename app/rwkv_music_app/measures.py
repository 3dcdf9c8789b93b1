"""Where the bars of a take lie: in time, in its ABC, and in its tokens, from any of which one can go on."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from rwkv_music.compose import Piece
from rwkv_music.works import Tune, Work
from rwkv_music_tokenizers.grammar import NO_LIMITS
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.score import Score
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


@dataclass(frozen=True)
class Span:
    """Tokens of a prompt between two bar lines, and how many notes they strike."""

    start: int
    stop: int
    notes: int


def spans_of(piece: Piece) -> tuple[Span, ...]:
    """The bars of a piece's prompt, which stay as they are while it grows."""
    manuscript, tokens = piece.manuscript, piece.manuscript.heard()
    marks = [*manuscript.marks(), piece.prompt_length]
    return tuple(Span(start, stop, manuscript.notes(tokens[start:stop])) for start, stop in pairwise(marks))


def measures(
    piece: Piece, unfolded: Score | None, work: Work, played: Performance, bits: np.ndarray, prompt: Sequence[Span]
) -> list[Measure]:
    """The bars of a piece in the order they are played.

    unfolded: the score of a tune with its repeats played out. bits: (n,), by how much each of its tokens but the first
    surprised, or only the first n of them. prompt: see `spans_of`. Raises NotationError for what cannot be played.
    """
    if isinstance(work, Tune):
        return _of_tune(piece, work, unfolded or unfold(work.score), played, bits, prompt)
    return _of_performance(piece, played, bits, prompt)


def _of_tune(
    piece: Piece, tune: Tune, unfolded: Score, played: Performance, bits: np.ndarray, spans: Sequence[Span]
) -> list[Measure]:
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
    surprise = _surprise(piece, bits, lengths, owners, prompt, spans)
    bars = unfolded.parts[0].bars[:MOST_BARS]
    ticks = [float(onset * played.ticks) for onset in accumulate((bar.length for bar in bars), initial=Fraction(0))]
    times = np.rint(played.seconds(np.array(ticks)) * 1000).astype(int).tolist()
    found = []
    for bar, first, last in zip(bars, times, times[1:], strict=False):
        place = None if bar.place is None else int(lines[bar.place.line - 1]) + bar.place.column - 1
        number = number_of.get(place, -1) if place is not None else -1
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


def _of_performance(piece: Piece, played: Performance, bits: np.ndarray, spans: Sequence[Span]) -> list[Measure]:
    edges = _bar_lines(played)
    lengths = _lengths(piece)
    prompt_end = piece.manuscript.work((), False).performance
    begun = edges[bisect_left(edges, prompt_end.end * played.ticks // max(1, prompt_end.ticks))] if len(edges) else 0
    quarters = _quarters(piece, lengths)
    owners = [_nearest(edges, begun + float(quarter) * played.ticks) - 1 for quarter in quarters]
    after = {owner: moment for moment, owner in enumerate(owners) if owner >= 0}
    surprise = _surprise(piece, bits, lengths, owners, owners[0] + 1, spans)
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
    piece: Piece,
    bits: np.ndarray,
    lengths: Sequence[int],
    owners: Sequence[int],
    prompt: int,
    spans: Sequence[Span],
) -> dict[int, float]:
    """Bits a note of the bars, by number; the first `prompt` of them are the prompt's."""
    made, before = piece.made, piece.prompt_length
    # Where marks are fewer than bars, an upbeat shares the mark of the bar after it.
    bars = [(prompt - len(spans) + number, span) for number, span in enumerate(spans)]
    for owner, (start, stop) in zip(owners[1:], pairwise(lengths), strict=True):
        bars.append((owner, Span(before + start, before + stop, piece.manuscript.notes(made[start:stop]))))
    found = {}
    for number, span in bars:
        if span.notes and 0 < span.start < span.stop <= len(bits) + 1:
            found[number] = round(float(bits[span.start - 1 : span.stop - 1].sum()) / span.notes, 2)
    return found
