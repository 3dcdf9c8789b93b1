"""Which bars do not add up: every layer of every bar against its meter.

A bar may be short where a section begins or ends: an upbeat, its complement before a repeat, a bar that a repeat, a
double line, an ending or the end of the piece cuts. Everywhere else a bar is full or wrong; too long is always wrong.
Bars in free meter have no length to keep.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.errors import Place
from rwkv_music_tokenizers.score import Bar, Barline, Event, Item, Meter, Part, Remark, Score

# Lines of these styles leave the bars beside them their own length; so does every repeat.
DIVIDING = frozenset({"double", "final", "heavy-start", "hidden", "dotted"})
# Remarks that begin a section: part labels and titles.
SECTION_MARKS = frozenset("PT")
SPELLED_OUT = {"C": "4/4", "C|": "2/2"}


@dataclass(frozen=True)
class BarFault:
    """A bar that does not add up.

    `number` counts a part's bars from 1; a short first bar is an upbeat, number 0. `excess` is in quarters: positive
    too long, negative too short. `place` is where the bar begins, None for music that was not read from a text.
    """

    place: Place | None
    part: str
    number: int
    excess: Fraction
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


@dataclass(frozen=True)
class BarCount:
    """How many bars are full, short beside a section boundary, and wrong; free meter is not counted."""

    full: int
    short_at_boundary: int
    wrong: int

    @property
    def total(self) -> int:
        return self.full + self.short_at_boundary + self.wrong


@dataclass(frozen=True)
class _Measured:
    """A bar beside what its meter asks for."""

    bar: Bar
    meter: Meter
    number: int
    # Quarters that each layer takes, the main one first.
    layers: tuple[Fraction, ...]
    # The layer and excess of the first that is wrong; None when all add up.
    wrong: tuple[int, Fraction] | None
    short: bool


def check_bars(score: Score) -> tuple[BarFault, ...]:
    """Every bar of the score that does not add up, part by part, in order."""
    return tuple(
        BarFault(one.bar.place, part.name, one.number, one.wrong[1], _message(score, part, one))
        for part in score.parts
        for one in _measured(part, score.meter)
        if one.wrong
    )


def count_bars(score: Score) -> BarCount:
    """Count the bars of all parts by how well they fill their meter."""
    full = short = wrong = 0
    for part in score.parts:
        for one in _measured(part, score.meter):
            if one.wrong:
                wrong += 1
            elif one.short:
                short += 1
            else:
                full += 1
    return BarCount(full, short, wrong)


def _measured(part: Part, meter: Meter) -> Iterator[_Measured]:
    """Each bar that has a meter, measured."""
    number = 0
    for index, bar in enumerate(part.bars):
        before = part.bars[index - 1].close if index else part.open
        after = part.bars[index + 1] if index + 1 < len(part.bars) else None
        at_edge = (
            index == 0
            or after is None
            or _divides(before)
            or _divides(bar.close)
            or _begins_section(bar)
            or _begins_section(after)
        )
        meters = [item for item in bar.items if isinstance(item, Meter)]
        counted = _meter_at_first_event(bar, meter)
        layers = (bar.length, *(_length(layer) for layer in bar.overlays))
        if counted.bar is not None:
            short = layers[0] < counted.bar and at_edge
            number += not (index == 0 and layers[0] < counted.bar)
            yield _Measured(bar, counted, number, layers, _first_wrong(layers, counted.bar, short), short)
        meter = meters[-1] if meters else meter


def _first_wrong(layers: tuple[Fraction, ...], full: Fraction, short: bool) -> tuple[int, Fraction] | None:
    wanted = layers[0] if short else full
    return next(((layer, length - wanted) for layer, length in enumerate(layers) if length != wanted), None)


def _length(layer: tuple[Item, ...]) -> Fraction:
    return sum((item.length for item in layer if isinstance(item, Event)), Fraction(0))


def _meter_at_first_event(bar: Bar, meter: Meter) -> Meter:
    """The meter that holds when the bar's first event begins."""
    for item in bar.items:
        if isinstance(item, Event):
            break
        if isinstance(item, Meter):
            meter = item
    return meter


def _divides(line: Barline | None) -> bool:
    return line is not None and (line.style in DIVIDING or line.ends > 0 or line.starts)


def _begins_section(bar: Bar) -> bool:
    if bar.ending:
        return True
    first = next((item for item in bar.items if isinstance(item, Event | Remark)), None)
    return isinstance(first, Remark) and first.letter in SECTION_MARKS


def _message(score: Score, part: Part, one: _Measured) -> str:
    assert one.wrong is not None
    layer, excess = one.wrong
    holds = one.layers[layer]
    named = f"bar {one.number}" + (f" of voice {part.name}" if len(score.parts) > 1 else "")
    which = f"layer {layer + 1} of {named}" if layer else named
    meter = SPELLED_OUT.get(one.meter.text, one.meter.text)
    return f"{which} holds {_in_wholes(holds, meter)} in a {meter} meter"


def _in_wholes(quarters: Fraction, meter: str) -> str:
    """A length as a fraction of a whole note, counted in the meter's own note value where that is possible."""
    wholes = quarters / 4
    below = meter.rpartition("/")[2]
    if below.isdecimal() and (wholes * int(below)).denominator == 1:
        return f"{wholes * int(below)}/{below}"
    return f"{wholes.numerator}/{wholes.denominator}"
