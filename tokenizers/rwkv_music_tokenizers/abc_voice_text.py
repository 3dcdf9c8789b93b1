"""One part of a score as lines of ABC music: bars, four a line, with the lyrics under them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import groupby

from rwkv_music_tokenizers.abc_event_text import LayerWriter
from rwkv_music_tokenizers.abc_field_text import escaped, field_lines, key_text, meter_text, raw, tempo_text
from rwkv_music_tokenizers.abc_marks import read_barline
from rwkv_music_tokenizers.keys import STEPS, Key
from rwkv_music_tokenizers.score import Bar, Barline, Change, Event, Item, Meter, Part, Remark, Score, Syllable, Tempo

BARS_A_LINE = 4
# Where a bar without a meter rests, it rests a whole note; longer rests than this many bars are written in pieces.
WHOLE = Fraction(4)
LONGEST_REST = 1000
REACHES = ("not", "octave", "pitch")

_STYLES = {"single": "|", "double": "||", "final": "|]", "heavy-start": "[|", "dotted": ".|", "hidden": "[|]"}
_MOST_COLONS = 8
# Remarks that may stand inside a line of music; others have a line of their own. The rest of the letters change it.
_INLINE = frozenset("NPR")
_REMARKS = frozenset("HIJNOPRSTYZhijklnopqtuv")
# At the head of a line these would be taken for a field.
_LIKE_FIELD = re.compile(r"[H-Zh-w+]:")
_LYRIC_SIGNS = "|*_~-"


class VoiceWriter:
    """Writes the bars of one part. What an ABC reader would remember at each spot is remembered here."""

    def __init__(self, score: Score, part: Part, reach: str):
        self.part = part
        self.unit = score.unit
        self.meter = score.meter
        self.key = score.key
        self.reach = reach
        self._layers: list[LayerWriter] = []
        self._lines: list[str] = []
        # The line being written, how many bars it has, and the notes in it that could be sung.
        self._line = barline_text(part.open) if part.open else ""
        self._bars = 0
        self._notes: list[Event] = []
        # Notes from here on up to the last one with lyrics.
        self._sung = sum(1 for bar in part.bars for event in bar.events if event.lyrics)

    def lines(self) -> list[str]:
        """All lines of the part."""
        bars = self.part.bars
        number = 0
        while number < len(bars):
            count = self._rest_bars(bars, number)
            bar = bars[number]
            last = bars[number + count - 1]
            following = bars[number + count] if number + count < len(bars) else None
            self._line += self._ending_text(bar)
            rest = str(count) if count > 1 else ""
            self._line += self._bar_text(bar) + rest
            self._close(last, following)
            number += count
        self._break()
        return self._lines

    def _rest_bars(self, bars: Sequence[Bar], start: int) -> int:
        """How many bars from there are written as one: 1, or more of nothing but whole-bar rests."""
        first = bars[start].items[0] if len(bars[start].items) == 1 else None
        if not isinstance(first, Event) or not self._is_whole_bar(first) or first.slurs_close or bars[start].overlays:
            return 1
        plain = (Event(first.length, hidden=first.hidden, whole_bar=True),)
        count = 1
        while (
            start + count < len(bars)
            and count < LONGEST_REST
            and bars[start + count - 1].close == Barline()
            and bars[start + count].items == plain
            and not bars[start + count].overlays
            and not bars[start + count].ending
        ):
            count += 1
        return count

    def _is_whole_bar(self, event: Event) -> bool:
        return event.whole_bar and event.length == (self.meter.bar or WHOLE)

    def _ending_text(self, bar: Bar) -> str:
        if not bar.ending:
            return ""
        bracket = "" if self._line.endswith(("|", ":", "]")) and self._bars else "["
        return f"{bracket}{_numbers(bar.ending)} "

    def _bar_text(self, bar: Bar) -> str:
        for layer in self._layers:
            layer.accidentals.end_bar()
        layers = (bar.items, *bar.overlays)
        self._notes += [event for event in bar.events if event.tones]
        if not any(isinstance(item, Event) for layer in layers for item in layer):
            # A bar without anything would not be one.
            layers = ((*bar.items, Event(self.meter.bar or WHOLE, hidden=True, whole_bar=True)), *bar.overlays)
        return " & ".join(self._layer_text(depth, items).strip(" ") for depth, items in enumerate(layers)).strip(" ")

    def _layer_text(self, depth: int, items: Sequence[Item]) -> str:
        if depth == len(self._layers):
            self._layers.append(LayerWriter(self.unit, self._signature(), self.reach))
        text = ""
        onset = self._upbeat(items)
        for is_event, group in groupby(items, key=lambda item: isinstance(item, Event)):
            if is_event:
                events = [self._without_false_rest(item) for item in group if isinstance(item, Event)]
                text += self._layers[depth].events(events, self.meter, onset)
                onset += sum(event.length for event in events)
                continue
            text += " "
            for item in group:
                if not isinstance(item, Event):
                    text += self._change_text(item)
        return text

    def _upbeat(self, items: Sequence[Item]) -> Fraction:
        """How far into its bar the part begins; 0 for all later bars."""
        if self._lines or self._bars or self.meter.bar is None:
            return Fraction(0)
        length = sum((item.length for item in items if isinstance(item, Event)), Fraction(0))
        return max(Fraction(0), self.meter.bar - length)

    def _without_false_rest(self, event: Event) -> Event:
        """A rest that says it fills the bar, but has not the bar's length, becomes an ordinary one."""
        if not event.whole_bar or self._is_whole_bar(event):
            return event
        return replace(event, whole_bar=False)

    def _signature(self) -> tuple[int, ...]:
        return tuple(self.key.alter(step) for step in STEPS)

    def _change_text(self, item: Change) -> str:
        """A change of key, meter or tempo, or a remark, and its effect."""
        if isinstance(item, Key):
            self.key = item
            for layer in self._layers:
                layer.accidentals.signature = self._signature()
            return _field("K", key_text(item))
        if isinstance(item, Meter):
            self.meter = item
            return _field("M", meter_text(item))
        if isinstance(item, Tempo):
            return _field("Q", tempo_text(item))
        return self._remark_text(item)

    def _remark_text(self, item: Remark) -> str:
        words = item.text.split()
        if item.letter in ("I", "%%") and len(words) == 2 and words[0] == "propagate-accidentals":
            self.reach = words[1] if words[1] in REACHES else self.reach
            for layer in self._layers:
                layer.accidentals.reach = self.reach
        if item.letter == "%%":
            return f"\n%%{raw(item.text)}\n"
        if item.letter not in _REMARKS:
            return ""
        if item.letter == "I":
            return _field("I", raw(item.text))
        if item.letter in _INLINE:
            return _field(item.letter, escaped(item.text, "]"))
        return "\n" + "\n".join(field_lines(item.letter, escaped(item.text))) + "\n"

    def _close(self, bar: Bar, following: Bar | None) -> None:
        """End a bar with its line, and the line of text where a section ends or four bars are full."""
        line = bar.close or (Barline() if following else None)
        self._bars += 1
        if line is None:
            return
        opening = ""
        if following and following.ending and line == Barline("hidden"):
            # The bracket of the ending ends this bar by itself.
            self._line += " "
        elif line.starts and following and not following.ending and line.style in ("single", "double"):
            self._add_barline(Barline(line.style, line.ends))
            opening = "|:"
        else:
            self._add_barline(line)
        # An ending's number stays with the bar line before it, unless endings follow each other without end.
        if following and following.ending and self._bars < 2 * BARS_A_LINE:
            return
        if opening or line.ends or line.style in ("double", "final") or self._bars >= BARS_A_LINE:
            self._break()
            self._line = opening

    def _add_barline(self, line: Barline) -> None:
        text = barline_text(line)
        last_line = self._line.rpartition("\n")[2]
        self._line += f" {text}" if _LIKE_FIELD.fullmatch(last_line + text[:1]) else text

    def _break(self) -> None:
        """End the line of text, and put the lyrics under it."""
        self._lines += [line.strip(" ") for line in self._line.split("\n") if line.strip(" ")]
        if self._sung and self._notes:
            self._lines += _lyric_lines(self._notes)
            self._sung -= sum(1 for event in self._notes if event.lyrics)
        self._line, self._bars, self._notes = "", 0, []


def barline_text(line: Barline) -> str:
    """The ABC signs of a bar line; where no single sign says it all, two that make one."""
    ends, starts = ":" * min(line.ends, _MOST_COLONS), ":" if line.starts else ""
    if line.style == "single" and ends and starts:
        return "::" if line.ends == 1 else f"{ends}|:"
    sign = _STYLES[line.style]
    if line.style != "dotted" and read_barline(ends + sign + starts) == line:
        return ends + sign + starts
    if line.style == "dotted":
        return " ".join([*([f"{ends}|"] if ends else []), sign, *(["|:"] if starts else [])])
    return f"{ends}{sign} |:" if starts else ends + sign


def _field(letter: str, text: str) -> str:
    """A field inside the line where it can stand there, else on a line of its own."""
    if "]" in text or len(text) > 900:
        return f"\n{letter}:{text}\n"
    return f"[{letter}:{text}] " if text else ""


def _numbers(ending: tuple[int, ...]) -> str:
    """(1, 3) as "1,3", (1, 2, 3) as "1-3"."""
    if len(ending) > 2 and ending == tuple(range(ending[0], ending[-1] + 1)):
        return f"{ending[0]}-{ending[-1]}"
    return ",".join(map(str, ending))


def _lyric_lines(notes: Sequence[Event]) -> Iterator[str]:
    """The w: lines under these notes; one that skips a note where there are no lyrics, so that later ones fit."""
    verses = max(1, *(len(note.lyrics) for note in notes))
    for verse in range(verses):
        signs = [_syllable_text(note.lyrics[verse] if verse < len(note.lyrics) else None) for note in notes]
        while len(signs) > 1 and signs[-1] == "*":
            signs.pop()
        yield from field_lines("w", " ".join(signs))


def _syllable_text(syllable: Syllable | None) -> str:
    if syllable is None:
        return "*"
    if syllable.held:
        return "-" if syllable.joined else "_"
    return escaped(syllable.text, _LYRIC_SIGNS).replace(" ", "~") + ("-" if syllable.joined else "")
