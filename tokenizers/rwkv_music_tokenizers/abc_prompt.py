"""Where any text of ABC stands, also one that breaks the rules: what new music has to go on from."""

from fractions import Fraction

from rwkv_music_tokenizers.abc_fields import default_unit, read_meter, read_unit
from rwkv_music_tokenizers.abc_header import field_letter, field_value
from rwkv_music_tokenizers.abc_lexer import Token
from rwkv_music_tokenizers.abc_marks import ALTERS, read_barline, read_ending, read_note
from rwkv_music_tokenizers.abc_next_header import begin_music, end_line, with_key
from rwkv_music_tokenizers.abc_next_lines import hangs
from rwkv_music_tokenizers.abc_rhythm import LONGEST_REST, WHOLE, Rhythm, read_multiplier
from rwkv_music_tokenizers.abc_room import MOST_PARTS, MOST_STEPS, new_room
from rwkv_music_tokenizers.abc_spot import (
    CLOSE_NOTE,
    CUT,
    MOST_SLURS,
    NOTE,
    NOTHING,
    PLAINLY,
    SOUND,
    WITH_ENDINGS,
    Head,
    Place,
    Sign,
    Spot,
)
from rwkv_music_tokenizers.abc_tally import Tally
from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.keys import STEPS
from rwkv_music_tokenizers.score import Meter

# Words that a prompt may leave open, and what closes them.
UNCLOSED = {"symbol": '"', "annotation": '"', "inline": "]"}
LINES = frozenset({"field", "comment", "directive", "text", "continuation"})


class Reading:
    """Takes the tokens of a text; `place` is where the text stands after them, `tally` what they hold."""

    def __init__(self, limits: Limits):
        self.tally = Tally()
        self._limits = limits
        self._head = Head()
        self._spot: Spot | None = None
        self._rhythm = Rhythm(Fraction(1, 2), Meter("none", None))
        self._position = self._last = Fraction(0)
        # Numbers and beginning of the last tuplet, marks of the last broken rhythm.
        self._tuplet = (1, 1, Fraction(0))
        self._bend = 0
        self._tones: tuple[Sign, ...] = ()
        # Written length of the chord's first note.
        self._chord: Fraction | None = None
        self._line_over = True

    @property
    def place(self) -> Place:
        if self._spot is None:
            return self._head if self._line_over else self._head._replace(text=CUT)
        return self._in_room(self._spot)

    def take(self, token: Token) -> None:
        """Take the next token."""
        kind = token.kind
        self._line_over = kind == "newline"
        if self._spot is None:
            if kind == "field" and token.text[0] == "K":
                self._begin(field_value(token))
            elif kind == "field":
                self._head_field(field_letter(token), field_value(token))
            elif kind in ("note", "rest", "bar", "chord_open", "symbol", "annotation", "tuplet", "grace_open"):
                self._begin("C")
        if self._spot is not None:
            self._music(token, self._spot)

    def _head_field(self, letter: str, value: str) -> None:
        after = end_line(self._head._replace(text=f"{letter}:{value}"), self._limits)
        assert isinstance(after, Head)
        self._head = after

    def _begin(self, key: str) -> None:
        self._spot = begin_music(self._head, key, self._limits)
        self._rhythm = Rhythm(self._spot.room.unit, self._spot.room.meter)

    def _music(self, token: Token, spot: Spot) -> None:
        kind, text = token.kind, token.text
        if kind in LINES:
            spot = spot.but(mode="shut", text="")
        elif kind == "newline":
            spot = spot.but(mode="", text="", blank=True, spaced=False)
        elif kind == "space":
            owed = SOUND if spot.owed == CLOSE_NOTE else spot.owed
            spot = spot.but(spaced=True, owed=owed)
        elif kind not in ("backtick", "linebreak", "spacer", "unknown"):
            closed = kind not in UNCLOSED or (len(text) > 1 and text.endswith(UNCLOSED[kind]))
            mode, end = ("", "") if closed else ("shut", UNCLOSED[kind])
            spot = spot.but(mode=mode, text=end, blank=False, spaced=False)
        self._spot = spot
        if kind == "note":
            self._note(text)
        elif kind == "rest":
            self._rest(text)
        elif kind == "bar":
            self._bar(text, read_barline(text).starts)
        elif kind in ("chord_open", "chord_close", "grace_open", "grace_close"):
            self._bracket(kind, text)
        elif kind in ("field", "inline"):
            self._field(field_letter(token), field_value(token), is_line=kind == "field")
        elif text == ":" and kind == "unknown" and not spot.sounds:
            self._spot = spot.but(repeat=True)
        else:
            self._mark(kind, text, spot)

    def _mark(self, kind: str, text: str, spot: Spot) -> None:
        if kind in ("symbol", "annotation"):
            spot = spot.but(owed=SOUND, marks=spot.marks + 1, line="")
            if kind == "symbol":
                spot = spot.but(named=True, symbols=True)
        elif kind == "decoration":
            spot = spot.but(owed=CLOSE_NOTE, marks=spot.marks + 1, line="")
        elif kind == "slur_open":
            spot = spot.but(slurs=min(MOST_SLURS, spot.slurs + 1), owed=SOUND, line="")
        elif kind == "slur_close":
            spot = spot.but(slurs=max(0, spot.slurs - 1))
        elif kind == "tie" and spot.graces < 0 and spot.chord is None:
            spot = spot.but(tied=self._tones)
        elif kind == "tie" and spot.chord:
            spot = spot.but(holding=(*spot.holding, spot.chord[-1]))
        elif kind == "tuplet" and self._rhythm.open_tuplet(text):
            numbers = [int(number or 0) for number in (text[1:] + "::").split(":")[:3]]
            room = spot.room.with_tuplet(numbers[0], numbers[1])
            normal = numbers[1] or (room.normal if room else new_room(spot.room.unit, spot.room.meter).left)
            self._tuplet = (numbers[0], normal, self._position)
            spot = spot.but(line="")
        elif kind == "broken":
            self._break(text, spot)
        elif kind == "overlay":
            self._position = self._last = Fraction(0)
            spot = spot.but(opens=False, tied=())
        elif kind == "ending":
            number = min(read_ending(text), default=1)
            spot = spot.but(ending=number, opens=False, line="")
        self._spot = spot

    def _break(self, marks: str, spot: Spot) -> None:
        if spot.graces >= 0 or spot.chord is not None or self._rhythm.waits or not self._last:
            return
        longer = self._last * self._rhythm.bend(marks)
        self.tally.sound(longer - self._last)
        self._position += longer - self._last
        self._last = longer
        self._bend = len(marks) if marks[0] == ">" else -len(marks)

    def _note(self, text: str) -> None:
        assert self._spot is not None
        alter, step, octave, length = read_note(text)
        accidental = next((sign for sign, shift in ALTERS.items() if alter == shift), "")
        tone = (7 * octave + STEPS.index(step), accidental)
        written = self._rhythm.written(length) or self._rhythm.unit
        spot = self._spot
        if spot.altered and alter is not None:
            altered = list(spot.altered)
            altered[tone[0] % 7] = alter
            spot = spot.but(altered=tuple(altered))
        if spot.graces >= 0:
            spot = spot.but(graces=spot.graces + 1)
        elif spot.chord is not None:
            self._chord = self._chord or written
            factor = self._chord / self._rhythm.unit
            inner = f"{factor.numerator}/{factor.denominator}" if factor != 1 else ""
            spot = spot.but(chord=(*spot.chord, tone), inner=inner, line="")
        self._spot = spot
        if spot.graces < 0 and spot.chord is None:
            self._sound(written, (tone,))

    def _sound(self, written: Fraction, tones: tuple[Sign, ...], tied: tuple[Sign, ...] = ()) -> None:
        assert self._spot is not None
        self._last, _tuplet = self._rhythm.take(written)
        self._position += self._last
        self.tally.sound(self._last)
        self._tones = tones
        ending = max(0, self._spot.ending)
        spot = self._spot.but(sounds=True, line="", owed=NOTHING, marks=0, named=False, ending=ending)
        self._spot = spot.but(tied=tied, joined=bool(spot.tied))

    def _rest(self, text: str) -> None:
        assert self._spot is not None
        if self._spot.graces >= 0 or self._spot.chord is not None:
            return
        if text[0] in "zx":
            self._sound(self._rhythm.written(text[1:]) or self._rhythm.unit, ())
            return
        bars = int(text[1:]) if text[1:].isdecimal() else 1
        self._rhythm.drop()
        self._sound(self._rhythm.meter.bar or WHOLE, ())
        if 1 < bars <= LONGEST_REST:
            self.tally.rest_bars(bars - 1)

    def _bracket(self, kind: str, text: str) -> None:
        assert self._spot is not None
        spot = self._spot
        if kind == "chord_open":
            self._chord = None
            self._spot = spot.but(chord=(), inner=None)
        elif kind == "grace_open":
            self._spot = spot.but(graces=0, line="")
        elif kind == "grace_close":
            self._spot = spot.but(graces=-1, owed=NOTE, marks=spot.marks + 1)
        else:
            tones, held = spot.chord or (), spot.holding
            self._spot = spot.but(chord=None, inner=None, holding=(), graces=-1)
            if self._chord is not None:
                self._sound(self._chord * (read_multiplier(text[1:]) or 1), tones, held)
                self._chord = None

    def _bar(self, text: str, starts: bool) -> None:
        assert self._spot is not None
        spot, line = self._spot, read_barline(text)
        self.tally.line(text, self._rhythm.meter, spot.sounds)
        single = text == "|"
        full = self._rhythm.meter.bar
        whole = full is None or self._position >= full
        ending = -1 if spot.ending == 1 and line.ends and not starts else spot.ending if single else 0
        if spot.sounds:
            upbeat = spot.upbeat
            if spot.opens and not whole:
                room = new_room(self._rhythm.unit, self._rhythm.meter)
                upbeat = int(self._position / room.step)
            repeated = spot.repeated if not line.ends else WITH_ENDINGS if spot.ending == 1 else PLAINLY
            bars = single and (spot.bars or whole)
            spot = spot.but(upbeat=upbeat, repeated=repeated, bars=bars, ending=ending)
        self._spot = spot.but(
            sounds=False,
            opens=not single or (spot.opens and not spot.sounds and spot.line != "start"),
            line=text,
            hangs=hangs(self._in_room(spot)) if spot.sounds else spot.hangs,
            repeat=starts or (spot.repeat and not line.ends),
            slurs=spot.slurs if single else 0,
            tied=spot.tied if single else (),
            owed=NOTHING,
            marks=0,
            named=False,
            graces=-1,
            chord=None,
            inner=None,
            fields="",
            altered=(None,) * len(spot.altered),
        )
        self._position = self._last = Fraction(0)

    def _field(self, letter: str, value: str, is_line: bool) -> None:
        assert self._spot is not None
        spot = self._spot.but(graces=-1, chord=None, inner=None, line="" if self._spot.line != "start" else "start")
        meter = read_meter(value) if letter == "M" else None
        unit = read_unit(value) if letter == "L" else None
        if letter == "K":
            spot = with_key(spot, value, self._limits)
        if meter:
            self._rhythm.meter = meter
            if is_line and spot.line == "start" and "L" not in self._head.seen:
                unit = default_unit(meter)
        if unit:
            self._rhythm.set_unit(unit)
        self._spot = spot.but(room=new_room(self._rhythm.unit, self._rhythm.meter))

    def _in_room(self, spot: Spot) -> Spot:
        """The spot with the room that the bar being written leaves."""
        rhythm = self._rhythm
        room = new_room(rhythm.unit, rhythm.meter)
        if not rhythm.tuplet_left:
            room = room.at(self._position)
        else:
            actual, normal, begin = self._tuplet
            room = room.at(begin)
            held = (self._position - begin) * actual / normal / rhythm.unit * room.parts
            scaled = room.parts * held.denominator
            if scaled <= MOST_PARTS and room.full * held.denominator <= MOST_STEPS and held < MOST_STEPS:
                scale = held.denominator
                room = room.but(parts=scaled, full=room.full * scale, left=room.left * scale)
                held *= scale
            room = room.but(actual=actual, normal=normal, waiting=rhythm.tuplet_left, held=min(int(held), MOST_STEPS))
        if rhythm.waits:
            room = room.but(bend=self._bend)
        return spot.but(room=room.mended())
