"""When everything in a score happens: each item of each voice with its onset, as the score stands (not unfolded)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from rwkv_music_tokenizers.score import Event, Item, Part, Score


@dataclass(frozen=True)
class Moment:
    """An item at its onset (quarters from the beginning). `bar` counts the bars of its part from 0."""

    onset: Fraction
    part: int
    bar: int
    bar_onset: Fraction
    # 0 is the main layer of the bar, the overlays follow.
    layer: int
    item: Item = field(repr=False)


def bar_onsets(parts: Sequence[Part]) -> list[list[Fraction]]:
    """For each part, where its bars begin, and at the end of the list where the last one ends.

    Voices with the same number of bars keep their bar lines together: a bar is as long as its longest voice, so one
    bar that does not add up cannot push a voice out of step for the rest of the piece.
    """
    together: dict[int, list[Fraction]] = {}
    for part in parts:
        lengths = [bar.longest for bar in part.bars]
        longest = together.setdefault(len(lengths), lengths)
        together[len(lengths)] = [max(pair) for pair in zip(longest, lengths, strict=True)]
    onsets: dict[int, list[Fraction]] = {}
    for count, lengths in together.items():
        begins = [Fraction(0)]
        for length in lengths:
            begins.append(begins[-1] + length)
        onsets[count] = begins
    return [onsets[len(part.bars)] for part in parts]


def timeline(score: Score) -> Iterator[Moment]:
    """Every item, part by part, bar by bar, layer by layer, in time order within a layer."""
    for number, (part, onsets) in enumerate(zip(score.parts, bar_onsets(score.parts), strict=True)):
        for count, bar in enumerate(part.bars):
            for layer, items in enumerate((bar.items, *bar.overlays)):
                onset = onsets[count]
                for item in items:
                    yield Moment(onset, number, count, onsets[count], layer, item)
                    if isinstance(item, Event):
                        onset += item.length
