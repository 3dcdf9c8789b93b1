"""How lengths are written: note values and dots, tuplets, beams; exact, and without any notation library."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.score import Event

# Undotted values in quarters, from the breve to the 256th.
BASES = tuple(Fraction(8) / 2**power for power in range(10))
# With one dot or none, longest first; and these with double dots too.
DOTTED = tuple(base * factor for base in BASES for factor in (Fraction(3, 2), Fraction(1)))
SINGLE = frozenset(DOTTED) | {base * Fraction(7, 4) for base in BASES}
# Shorter values than this have flags.
FLAGGED = Fraction(1)
# The finest tuplet that is written for a length that names none; others are rounded to a 256th.
MOST_IN_TUPLET = 63
# Notes tied together for one length, at most.
MOST_PIECES = 40


@dataclass(frozen=True)
class Value:
    """One written note: its length in quarters before the tuplet, and `actual` notes in the time of `normal`."""

    length: Fraction
    actual: int = 1
    normal: int = 1


def values(event: Event) -> tuple[Value, ...]:
    """The notes, tied together, that write an event's length; at least one."""
    actual, normal = (event.tuplet.actual, event.tuplet.normal) if event.tuplet else (1, 1)
    length = event.length * actual / normal
    odd = _odd_part(length.denominator)
    if odd > 1:
        if odd <= MOST_IN_TUPLET and actual == 1:
            # A length such as C/3 needs a tuplet that nobody wrote.
            actual, normal = odd, 1 << (odd.bit_length() - 1)
            length = length * actual / normal
        else:
            length = round(length / BASES[-1]) * BASES[-1]
    return tuple(Value(piece, actual, normal) for piece in _pieces(length))


def _odd_part(number: int) -> int:
    return number // (number & -number)


def _pieces(length: Fraction) -> list[Fraction]:
    """Single and dotted values that add up to a length; double dots only where they write the whole."""
    pieces: list[Fraction] = []
    while length > 0 and len(pieces) < MOST_PIECES:
        if length in SINGLE:
            pieces.append(length)
            break
        piece = next((value for value in DOTTED if value <= length), BASES[-1])
        pieces.append(piece)
        length -= piece
    return pieces or [BASES[-1]]


def plain_value(length: Fraction) -> Fraction:
    """The longest undotted value that is not longer: what a grace note is printed as."""
    return next((base for base in BASES if base <= length), BASES[-1])


def flags(length: Fraction) -> int:
    """How many flags or beams a single written value has: an eighth 1, a sixteenth 2."""
    return max(0, BASES.index(plain_value(length)) - BASES.index(FLAGGED))


def beams(events: Sequence[Event]) -> list[tuple[str, ...]]:
    """For each event of a layer its beams from the first level down: "start", "continue", "stop", "right", "left".

    "right" and "left" are the stubs of a note whose neighbours have fewer beams. () for a note without beams.
    """
    counts = [_beams_of(event) for event in events]
    found: list[tuple[str, ...]] = [()] * len(events)
    first = 0
    while first < len(events):
        end = first + 1
        while end < len(events) and events[end].beamed and counts[first] and counts[end]:
            end += 1
        if end - first > 1:
            found[first:end] = group_beams(counts[first:end])
        first = end
    return found


def _beams_of(event: Event) -> int:
    written = values(event)
    return flags(written[0].length) if len(written) == 1 and event.tones else 0


def group_beams(counts: Sequence[int]) -> list[tuple[str, ...]]:
    """The beams of notes joined together, `counts` being their flags."""
    found: list[tuple[str, ...]] = []
    for place, count in enumerate(counts):
        before = counts[place - 1] if place else 0
        after = counts[place + 1] if place + 1 < len(counts) else 0
        levels: list[str] = []
        for level in range(1, count + 1):
            if before >= level and after >= level:
                levels.append("continue")
            elif after >= level:
                levels.append("start")
            elif before >= level:
                levels.append("stop")
            else:
                levels.append("left" if place else "right")
        found.append(tuple(levels))
    return found


@dataclass(frozen=True)
class TupletPlace:
    """Where an event stands in its tuplet; `bracket`: the notes are not all joined by a beam, so a bracket is needed."""

    begins: bool = False
    ends: bool = False
    bracket: bool = False


def tuplet_places(events: Sequence[Event]) -> list[TupletPlace]:
    """For each event of a layer its place in a tuplet. What a bar line cuts is closed there."""
    joined = beams(events)
    places = [TupletPlace()] * len(events)
    first = 0
    while first < len(events):
        end = first + 1
        while end < len(events) and _same_tuplet(events[end - 1], events[end]):
            end += 1
        if events[first].tuplet is not None:
            bracket = not all(joined[first:end])
            for place in range(first, end):
                places[place] = TupletPlace(place == first, place == end - 1, bracket)
        first = end
    return places


def _same_tuplet(first: Event, second: Event) -> bool:
    if first.tuplet is None or second.tuplet is None:
        return False
    one, two = first.tuplet, second.tuplet
    return (one.actual, one.normal, one.count, one.index + 1) == (two.actual, two.normal, two.count, two.index)
