"""Watching ABC as it is written, a character at a time: where in the tune and in the bar the text stands."""

from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.abc_fields import default_unit, read_meter, read_unit, read_voice
from rwkv_music_tokenizers.abc_header import field_letter, field_value
from rwkv_music_tokenizers.abc_lexer import Lexer, Token
from rwkv_music_tokenizers.abc_marks import read_barline, read_ending, read_note
from rwkv_music_tokenizers.abc_rhythm import LONGEST_REST, WHOLE, Rhythm, read_multiplier
from rwkv_music_tokenizers.score import Meter

FREE = Meter("none", None)
# Kinds of token that end at the end of their line, by what they are called while it lasts.
LINES = {"field": "field", "directive": "field", "comment": "comment", "text": "comment"}
# Kinds of token that leave a text that stood at a bar line there.
BLANK = frozenset({"space", "newline", "continuation", "linebreak", "comment", "backtick"})


@dataclass(frozen=True)
class Moment:
    """Where a text stands, read as if it ended here."""

    # The header is over.
    in_body: bool
    meter: Meter
    # Quarters of the unit length.
    unit: Fraction
    # The voice being written; "" when the tune names none.
    voice: str
    # Bars of that voice that a line has ended; a line with no event before it ends none.
    bars: int
    # Quarters since the last bar line, in the layer being written.
    position: Fraction
    # What is open: "quote", "chord", "grace", "decoration", "inline", "field", "comment", or "" for plain music.
    inside: str
    # A "|:" waits for its ":|".
    repeat_open: bool
    # Events that a tuplet still waits for.
    tuplet_left: int
    # A broken rhythm waits for its second event.
    broken: bool
    # Nothing but space since a bar line.
    at_bar_line: bool

    @property
    def left(self) -> Fraction | None:
        """Quarters to the end of the bar, negative past it; None in free meter."""
        return None if self.meter.bar is None else self.meter.bar - self.position


class _Voice:
    """How far one voice has come."""

    def __init__(self, name: str, rhythm: Rhythm):
        self.name = name
        self.rhythm = rhythm
        self.bars = 0
        self.position = Fraction(0)
        self.last = Fraction(0)
        self.sounds = False
        self.repeat_open = False

    def clone(self) -> "_Voice":
        twin = _Voice.__new__(_Voice)
        twin.__dict__.update(self.__dict__)
        twin.rhythm = self.rhythm.clone()
        return twin

    def add(self, written: Fraction) -> None:
        self.last, _ = self.rhythm.take(written)
        self.position += self.last
        self.sounds = True

    def close_bar(self) -> None:
        self.bars += self.sounds
        self.position = self.last = Fraction(0)
        self.sounds = False


class Watch:
    """Follows a text fed in pieces of any size. Cheap to clone, so that a step can be tried and taken back."""

    def __init__(self) -> None:
        self._lexer = Lexer()
        self._begin()

    def _begin(self) -> None:
        self._meter = FREE
        self._unit: Fraction | None = None
        self._voices: dict[str, _Voice] = {}
        self._voice = self._choose("")
        self._in_chord = self._in_grace = self._chord_in_grace = self._at_bar_line = False
        self._chord_written: Fraction | None = None
        self._chord_broken = ""
        self._in_music = False

    def clone(self) -> "Watch":
        """A watch on the same text that goes its own way."""
        twin = Watch.__new__(Watch)
        twin.__dict__.update(self.__dict__)
        twin._lexer = self._lexer.clone()
        twin._voices = {name: voice.clone() for name, voice in self._voices.items()}
        twin._voice = twin._voices[self._voice.name]
        return twin

    def feed(self, text: str) -> None:
        """Take the next character or more."""
        for token in self._lexer.feed(text):
            self._take(token)

    def now(self) -> Moment:
        """Where the text stands."""
        end = self.clone()
        pending = end._lexer.pending
        last = None
        for last in end._lexer.finish():
            end._take(last)
        voice = end._voice
        return Moment(
            end._lexer.in_body,
            voice.rhythm.meter,
            voice.rhythm.unit,
            voice.name,
            voice.bars,
            voice.position,
            end._inside(pending, last),
            voice.repeat_open,
            voice.rhythm.tuplet_left,
            voice.rhythm.waits,
            end._at_bar_line,
        )

    def _inside(self, pending: str, last: Token | None) -> str:
        """What is open: from what may still grow (`pending`, its last token), and from what was opened before."""
        if last is not None and last.kind in LINES:
            return LINES[last.kind]
        if pending[:1] == '"' and (len(pending) == 1 or pending[-1] != '"'):
            return "quote"
        if pending[:1] in ("!", "+") and pending[:1] and (len(pending) == 1 or pending[-1] != pending[0]):
            return "decoration"
        if last is not None and last.kind == "inline" and not last.text.endswith("]"):
            return "inline"
        return "chord" if self._in_chord else "grace" if self._in_grace else ""

    def _choose(self, name: str) -> _Voice:
        unnamed = self._voices.get("")
        if unnamed and name not in self._voices and (name == "1" or not (unnamed.bars or unnamed.sounds)):
            del self._voices[""]
            unnamed.name = name
            self._voices[name] = unnamed
        if name not in self._voices:
            rhythm = Rhythm(self._unit or default_unit(self._meter), self._meter)
            self._voices[name] = _Voice(name, rhythm)
        self._voice = self._voices[name]
        return self._voice

    def _take(self, token: Token) -> None:
        kind, voice = token.kind, self._voice
        if kind == "note":
            self._sound(voice.rhythm.written(read_note(token.text)[3]))
        elif kind == "rest":
            self._rest(token.text)
        elif kind == "bar":
            self._bar(token.text)
        elif kind == "chord_open":
            self._close_chord("")
            self._in_chord, self._chord_in_grace = True, self._in_grace
        elif kind == "chord_close":
            self._in_grace = self._in_grace and (self._chord_in_grace or not self._in_chord)
            self._close_chord(token.text[1:])
        elif kind in ("grace_open", "grace_close"):
            self._grace(opens=kind == "grace_open")
        elif kind == "tuplet":
            voice.rhythm.open_tuplet(token.text)
        elif kind == "broken":
            self._break(token.text)
        elif kind == "overlay":
            self._settle()
            voice.position = voice.last = Fraction(0)
        elif kind == "ending":
            self._ending(token.text)
        elif kind in ("field", "inline", "directive"):
            self._settle()
            self._field(token)
        elif token.text == ":" and not voice.sounds:
            voice.repeat_open = True
        if kind not in BLANK:
            self._at_bar_line = kind == "bar"

    def _sound(self, written: Fraction | None) -> None:
        written = written or self._voice.rhythm.unit
        if self._in_grace:
            return
        if self._in_chord:
            self._chord_written = self._chord_written or written
        else:
            self._voice.add(written)

    def _grace(self, opens: bool) -> None:
        if self._in_grace and self._in_chord and self._chord_in_grace:
            self._close_chord("")
        self._in_grace = opens

    def _close_chord(self, length: str) -> None:
        written, self._chord_written = self._chord_written, None
        was_open, self._in_chord = self._in_chord, False
        broken, self._chord_broken = self._chord_broken, ""
        if was_open and written is not None:
            self._sound(written * (read_multiplier(length) or 1))
            if broken:
                self._break(broken)

    def _rest(self, text: str) -> None:
        voice = self._voice
        if text[0] in "zx" or self._in_chord or self._in_grace:
            self._sound(voice.rhythm.written(text[1:]))
        else:
            count = int(text[1:]) if text[1:].isdecimal() else 1
            for _bar in range(count - 1 if count <= LONGEST_REST else 0):
                voice.sounds = True
                voice.close_bar()
            voice.rhythm.drop()
            voice.add(voice.rhythm.meter.bar or WHOLE)

    def _break(self, marks: str) -> None:
        voice = self._voice
        if self._in_chord and not self._in_grace and self._chord_written is not None:
            self._chord_broken = marks
        elif not self._in_grace and not voice.rhythm.waits and voice.last:
            length = voice.last * voice.rhythm.bend(marks)
            voice.position += length - voice.last
            voice.last = length

    def _settle(self) -> None:
        """Close what cannot go on."""
        self._in_grace = False
        self._close_chord("")

    def _ending(self, text: str) -> None:
        self._settle()
        if text[0] == "[" and read_ending(text):
            self._voice.close_bar()

    def _bar(self, text: str) -> None:
        self._settle()
        line = read_barline(text)
        self._voice.close_bar()
        if line.starts:
            self._voice.repeat_open = True
        elif line.ends:
            self._voice.repeat_open = False

    def _field(self, token: Token) -> None:
        letter, value = field_letter(token), field_value(token)
        if letter == "X":
            self._begin()
        elif letter == "V":
            voice = read_voice(value)
            if voice and self._in_music:
                self._choose(voice.name)
        elif letter == "M":
            self._meter_is(read_meter(value), token.kind == "field")
        elif letter == "L":
            self._unit_is(read_unit(value), token.kind == "field")
        elif letter == "K":
            self._in_music = True

    def _for_all(self, is_line: bool) -> bool:
        """A field holds for every voice: it stands in the header, or in a line right after it."""
        unnamed = self._voices.get("")
        return not self._in_music or (is_line and unnamed is not None and not (unnamed.bars or unnamed.sounds))

    def _meter_is(self, meter: Meter | None, is_line: bool) -> None:
        if meter is None:
            return
        self._voice.rhythm.meter = meter
        if self._for_all(is_line):
            self._meter = meter
            if self._unit is None:
                self._voice.rhythm.set_unit(default_unit(meter))

    def _unit_is(self, unit: Fraction | None, is_line: bool) -> None:
        if unit is None:
            return
        self._voice.rhythm.set_unit(unit)
        if self._for_all(is_line):
            self._unit = unit
