"""In which order written bars are played: repeats, endings, parts in order, da capo and dal segno.

Everything works on `Sign`s, what a bar says about the order, and gives bar numbers counted from 0. A repeat end without
a start goes back to the beginning, the last double bar line or the last repeat end, as the ABC standard 2.1 (section
4.8) recommends.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rwkv_music_tokenizers.errors import NotationError

# Bars that all voices of a piece may have together once unfolded.
MAX_BARS = 100_000
# How deep the parentheses of a P: order may be nested.
MAX_NESTING = 16

_ORDER = re.compile(r"([A-Za-z()])|([0-9]+)")


@dataclass(frozen=True)
class Sign:
    """What one bar says about the order of playing."""

    # A repeat begins with this bar.
    opens: bool = False
    # The passes on which the ending that begins here is played.
    ending: tuple[int, ...] = ()
    # How many times more the section that this bar closes is played.
    ends: int = 0
    # A double bar line closes this bar.
    boundary: bool = False
    # The name of the part that begins here (P: in the music).
    label: str = ""
    # Jump words, normalised: "dc", "dsalcoda", "fine", "segno", "coda" (a coda sign at the bar's start), "tocoda".
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Section:
    """Bars [start, body) are played on every pass, each ending (numbers, first, end) on its own; then on from `after`."""

    start: int
    body: int
    after: int
    passes: Sequence[int] = (1,)
    endings: tuple[tuple[tuple[int, ...], int, int], ...] = ()

    def ending_for(self, number: int) -> range:
        for numbers, first, end in self.endings:
            if number in numbers:
                return range(first, end)
        return range(0)


def playing_order(signs: Sequence[Sign], parts: str = "", limit: int = MAX_BARS) -> list[int]:
    """The bars in the order they sound. `parts` is the header's order of parts ("A2(BC)2").

    Raises NotationError where more than `limit` bars would be played.
    """
    order: list[int] = []
    for bar in _all_bars(signs, parts, limit):
        order.append(bar)
        if len(order) > limit:
            raise NotationError(f"the repeats unfold to more than {limit} bars; take some repeats out")
    return order


def _all_bars(signs: Sequence[Sign], parts: str, limit: int) -> Iterator[int]:
    spans = _part_spans(signs)
    wanted = [label for label in expand_parts(parts, limit) if label in spans]
    if not wanted:
        yield from _with_jumps(signs)
        return
    yield from _straight(signs, 0, min(first for first, _end in spans.values()))
    for label, run in groupby(wanted):
        first, end = spans[label]
        times = sum(1 for _label in run)
        # The standard's P:A4 with endings 1 to 4 means four passes in all, each with its own ending.
        by_ending = times > 1 and _last_ending(signs[first:end]) == times
        for number in range(1, times + 1):
            yield from _straight(signs, first, end, only=number if by_ending else 0)


def _part_spans(signs: Sequence[Sign]) -> dict[str, tuple[int, int]]:
    """Label -> its first bar and the bar after its last; where a label comes twice, the first stands."""
    starts = [bar for bar, sign in enumerate(signs) if sign.label]
    spans: dict[str, tuple[int, int]] = {}
    for first, end in zip(starts, [*starts, len(signs)][1:], strict=True):
        spans.setdefault(signs[first].label, (first, end))
    return spans


def _last_ending(signs: Sequence[Sign]) -> int:
    return max((number for sign in signs for number in sign.ending), default=0)


def expand_parts(text: str, limit: int = MAX_BARS) -> list[str]:
    """The letters of a P: order such as "A2(BC)2.A", written out.

    Raises NotationError where they are over `limit` or where parentheses are nested more than MAX_NESTING deep.
    """
    stack: list[list[str]] = [[]]
    # The letters that a number after them multiplies.
    last: list[str] = []
    for letter, number in _ORDER.findall(text):
        if number:
            times = min(int(number[:7]), limit + 1)
            if sum(map(len, stack)) + len(last) * (times - 1) > limit:
                raise NotationError(f"P: asks for more than {limit} parts; write smaller numbers")
            stack[-1][len(stack[-1]) - len(last) :] = last * times
            last = []
        elif letter == "(":
            stack.append([])
            if len(stack) > MAX_NESTING:
                raise NotationError(f"P: nests parentheses more than {MAX_NESTING} deep; write the order out")
        elif letter == ")":
            last = stack.pop() if len(stack) > 1 else []
            stack[-1].extend(last)
        else:
            last = [letter]
            stack[-1].append(letter)
    # Parentheses left open are closed at the end.
    return [letter for group in stack for letter in group]


def _straight(signs: Sequence[Sign], first: int, end: int, only: int = 0) -> Iterator[int]:
    """Bars [first, end) with their repeats; with `only`, every section once, with the ending for that pass.

    `only` -1 takes the last ending.
    """
    for section in sections(signs, first, end):
        passes = section.passes
        if only:
            passes = (passes[-1] if only < 0 else only,)
        for number in passes:
            yield from range(section.start, section.body)
            yield from section.ending_for(number)


def sections(signs: Sequence[Sign], first: int, end: int) -> Iterator[Section]:
    """What bars [first, end) are made of, in written order."""
    at = first
    while at < end:
        section = _section(signs, at, end)
        yield section
        at = section.after


def _section(signs: Sequence[Sign], start: int, end: int) -> Section:
    """The repeated or plain section that begins with bar `start`."""
    explicit = signs[start].opens
    for bar in range(start, end):
        sign = signs[bar]
        if bar > start and (sign.opens or (sign.label and not explicit)):
            return Section(start, bar, bar)
        # Endings begin with the first; another number there is a slip, or belongs to a section not written here.
        if 1 in sign.ending:
            return _section_with_endings(signs, start, bar, end)
        after = bar + 1
        if sign.ends:
            return Section(start, after, after, range(1, sign.ends + 2))
        if sign.boundary and not explicit and not (after < end and signs[after].ending):
            return Section(start, after, after)
    return Section(start, end, end)


def _section_with_endings(signs: Sequence[Sign], start: int, body: int, end: int) -> Section:
    endings: list[tuple[tuple[int, ...], int, int]] = []
    named: set[int] = set()
    bar = body
    while bar < end and signs[bar].ending and named.isdisjoint(signs[bar].ending):
        after = _ending_end(signs, bar, end)
        endings.append((signs[bar].ending, bar, after))
        named.update(signs[bar].ending)
        bar = after
    first_length = endings[0][2] - endings[0][1]
    numbers, first, after = endings[-1]
    runs_on = signs[after - 1].ends > 0 or (after < end and bool(signs[after].ending))
    if len(endings) > 1 and runs_on and after - first > first_length:
        # Nothing marks where the last ending stops, and another repeat follows: it is as long as the first ending.
        after = first + first_length
        endings[-1] = (numbers, first, after)
    if len(endings) == 1 and signs[after - 1].ends:
        # "[1 ... :|" alone: the last time the music goes on after it.
        named.add(max(named) + 1)
    return Section(start, body, after, tuple(sorted(named)), tuple(endings))


def _ending_end(signs: Sequence[Sign], first: int, end: int) -> int:
    """The bar after the ending that begins with bar `first`."""
    for bar in range(first, end):
        after = bar + 1
        if signs[bar].ends or signs[bar].boundary:
            return after
        if after < end and (signs[after].ending or signs[after].opens or signs[after].label):
            return after
    return end


def _with_jumps(signs: Sequence[Sign]) -> Iterator[int]:
    """All bars with repeats, then what the first "da capo" or "dal segno" asks for, repeats left out (as is custom)."""
    count = len(signs)
    jump = next((bar for bar, sign in enumerate(signs) if any(word[:2] in ("dc", "ds") for word in sign.words)), None)
    if jump is None:
        yield from _straight(signs, 0, count)
        return
    yield from _straight(signs, 0, jump + 1)
    word = next(word for word in signs[jump].words if word[:2] in ("dc", "ds"))
    back = (_find(signs, "segno") or 0) if word.startswith("ds") else 0
    fine = _find(signs, "fine")
    leave = _find(signs, "tocoda")
    coda = _find(signs, "coda")
    if leave is None and coda is not None and coda <= jump:
        # Two coda signs: the first says where to leave, the second where to go.
        leave, coda = coda - 1, _find(signs, "coda", coda + 1)
    if fine is not None and not word.endswith("coda"):
        yield from _straight(signs, back, fine + 1, only=-1)
    elif leave is not None and coda is not None and leave < coda:
        yield from _straight(signs, back, leave + 1, only=-1)
        yield from _straight(signs, coda, count)
    else:
        yield from _straight(signs, back, jump + 1, only=-1)
        yield from _straight(signs, jump + 1, count)


def _find(signs: Sequence[Sign], word: str, start: int = 0) -> int | None:
    return next((bar for bar in range(start, len(signs)) if word in signs[bar].words), None)
