"""One voice of a tune while it is read: bars in the making, accidentals in force, ties and what waits for a note."""

from fractions import Fraction

from rwkv_music_tokenizers.abc_draft import Draft, DraftBar, merged, tied, tone
from rwkv_music_tokenizers.abc_rhythm import WHOLE, Rhythm
from rwkv_music_tokenizers.clefs import Staff, read_staff
from rwkv_music_tokenizers.errors import NotationError, Place
from rwkv_music_tokenizers.keys import STEPS, Key
from rwkv_music_tokenizers.score import Barline, Change, Meter, Part, Tone

MOST_BARS = 20_000
MOST_LAYERS = 16
# Decorations that belong to the end of a bar when they stand before its line.
AT_BAR_END = frozenset({"D.C.", "D.S.", "dacapo", "dacoda", "fine", "breath", "D.C.alfine", "D.C.alcoda"})


class Layer:
    """What one layer of a voice remembers from event to event."""

    def __init__(self, rhythm: Rhythm):
        self.rhythm = rhythm
        # Accidentals of ties that wait for their second note, by step and octave.
        self.ties: dict[tuple[str, int], int] = {}
        # Accidentals written in this bar.
        self.accidentals: dict[object, int] = {}
        self.last: Draft | None = None
        # The bar that the last event stands in.
        self.bar: DraftBar | None = None


class VoiceBuilder:
    """Collects the bars of a voice."""

    def __init__(self, name: str, key: Key, unit: Fraction, meter: Meter):
        self.name = name
        self.properties = ""
        self.program: int | None = None
        self.open: Barline | None = None
        self.bars: list[DraftBar] = []
        self.bar = DraftBar()
        self.layers = [Layer(Rhythm(unit, meter))]
        self.layer = self.layers[0]
        self.waiting = Draft()
        self.meter = meter
        # How far an accidental reaches: "pitch" (all octaves, the standard's choice), "octave" or "not".
        self.reach = "pitch"
        # What lyrics can still be aligned with: notes, and None at every bar line.
        self.singable: list[Draft | None] = []
        self.verse = 0
        self.symbol_lines = 0
        # What the key that the voice begins in says of its staff.
        self.staff = Staff()
        self.set_key(key)

    @property
    def sounded(self) -> bool:
        """Some event has been read."""
        return bool(self.bars) or self.bar.sounds

    def set_key(self, key: Key) -> None:
        self.key = key
        if not self.sounded:
            self.staff = read_staff(key.properties, Staff())
        self.signature = {step: key.alter(step) for step in STEPS}

    def set_unit(self, unit: Fraction) -> None:
        for layer in self.layers:
            layer.rhythm.set_unit(unit)

    def set_meter(self, meter: Meter) -> None:
        self.meter = meter
        for layer in self.layers:
            layer.rhythm.meter = meter

    def sound(self, sign: int | None, step: str, octave: int) -> Tone:
        """The tone of a note as written; a written accidental holds for the rest of the bar."""
        layer = self.layer
        spot: object = step if self.reach == "pitch" else (step, octave)
        if sign is None:
            if layer.ties and (step, octave) in layer.ties:
                sign = layer.ties[step, octave]
            else:
                sign = layer.accidentals.get(spot)
                if sign is None:
                    sign = self.signature[step]
        elif self.reach != "not":
            layer.accidentals[spot] = sign
        return tone(step, sign, octave)

    def add(self, written: Fraction, tones: tuple[Tone, ...], close: bool) -> Draft:
        """Append what waits as an event of that written length."""
        layer = self.layer
        draft, self.waiting = self.waiting, Draft()
        draft.length, tuplet = layer.rhythm.take(written)
        if tuplet:
            draft.tuplet = tuplet
        if tones:
            draft.tones = tones
        if close:
            draft.close = True
        if layer.ties:
            layer.ties = {}
        if layer is self.layers[0]:
            self._sing(draft)
        layer.last, layer.bar = draft, self.bar
        self.bar.layers[-1].append(draft)
        self.bar.sounds = True
        return draft

    def _sing(self, draft: Draft) -> None:
        if self.verse or self.symbol_lines:
            self.singable = []
            self.verse = self.symbol_lines = 0
        if draft.tones:
            self.singable.append(draft)

    def bend(self, marks: str) -> bool:
        """Begin a broken rhythm; False when no event of this bar stands before it."""
        layer = self.layer
        if layer.last is None or layer.bar is not self.bar or layer.rhythm.waits:
            return False
        layer.last.length *= layer.rhythm.bend(marks)
        return True

    def rest_bar(self, hidden: bool) -> Draft:
        """Append a rest that fills the bar."""
        self.layer.rhythm.drop()
        draft = self.add(self.meter.bar or WHOLE, (), close=False)
        draft.whole_bar, draft.hidden = True, hidden
        return draft

    def tie(self, draft: Draft) -> None:
        """Hold all tones of an event into the next one."""
        draft.tones = tuple(tied(one) for one in draft.tones)
        self.remember_ties(draft)

    def remember_ties(self, draft: Draft) -> None:
        self.layer.ties = {(one.pitch.step, one.pitch.octave): one.pitch.alter for one in draft.tones if one.tied}

    def change(self, item: Change) -> None:
        """Let a key, meter, tempo or remark stand at this spot."""
        self.bar.layers[-1].append(item)

    def overlay(self) -> bool:
        """Begin another layer of the same bar; False when there are too many."""
        if len(self.bar.layers) >= MOST_LAYERS:
            return False
        self.bar.layers.append([])
        depth = len(self.bar.layers) - 1
        if depth == len(self.layers):
            rhythm = self.layers[0].rhythm.clone()
            self.layers.append(Layer(Rhythm(rhythm.unit, rhythm.meter)))
        self.layer = self.layers[depth]
        self.layer.accidentals = {}
        return True

    def close_bar(self, line: Barline, place: Place | None = None) -> None:
        """End the bar with a line. A line right after another one joins it."""
        if self.bar.sounds:
            self.bar.close = line
            self.bars.append(self.bar)
            if len(self.bars) > MOST_BARS:
                raise NotationError(f"more than {MOST_BARS} bars in a voice", place)
            self.bar = DraftBar()
            self.singable.append(None)
        elif self.bars:
            before = self.bars[-1].close
            self.bars[-1].close = merged(before, line) if before else line
        else:
            self.open = merged(self.open, line) if self.open else line
        self.layer = self.layers[0]
        for layer in self.layers:
            layer.accidentals = {}

    def leave_marks(self) -> None:
        """Give the last event what stands between it and the bar line, but for decorations of what follows."""
        last, waiting = self.layers[0].last, self.waiting
        if last is not None and self.bar.sounds and (waiting.annotations or waiting.decorations):
            last.annotations += waiting.annotations
            last.decorations += tuple(name for name in waiting.decorations if name in AT_BAR_END)
            waiting.annotations = ()
            waiting.decorations = tuple(name for name in waiting.decorations if name not in AT_BAR_END)

    def leave_all_marks(self) -> None:
        """Give the last event what waits for a note that never comes."""
        last = self.layers[0].last
        if last is not None:
            last.annotations += self.waiting.annotations
            last.decorations += self.waiting.decorations
            self.waiting = Draft()

    def part(self) -> Part:
        """The voice as read so far; a bar the text breaks off in stays without a closing line."""
        drafts = self.bars
        if self.bar.sounds:
            drafts = [*drafts, self.bar]
        elif drafts:
            drafts[-1].layers[0].extend(self.bar.layers[0])
        shift = read_staff(self.properties, self.staff).sounding_shift
        bars = tuple(draft.bar() for draft in drafts)
        return Part(bars, self.name, self.properties, self.open, self.program, shift)
