"""One voice of a tune while it is read: bars in the making, accidentals in force, ties and what waits for a note."""

from fractions import Fraction
from functools import lru_cache

from rwkv_music_tokenizers.abc_fields import sounding_shift
from rwkv_music_tokenizers.abc_rhythm import Rhythm
from rwkv_music_tokenizers.errors import NotationError, Place
from rwkv_music_tokenizers.keys import STEPS, Key, Pitch
from rwkv_music_tokenizers.score import (
    Annotation,
    Bar,
    Barline,
    Change,
    Event,
    Grace,
    Meter,
    Part,
    Syllable,
    Tone,
    Tuplet,
)

MOST_BARS = 100_000
ZERO = Fraction(0)
# Which of two bar lines at the same spot is seen: the later in this list.
STYLES = ("hidden", "single", "dotted", "double", "heavy-start", "final")


@lru_cache(maxsize=2048)
def tone(step: str, alter: int, octave: int, tied: bool = False) -> Tone:
    """The tone of a written pitch; the same object for the same pitch."""
    return Tone(Pitch(step, alter, octave), tied)


def tied(a_tone: Tone) -> Tone:
    """The tone, held into the next event."""
    return tone(a_tone.pitch.step, a_tone.pitch.alter, a_tone.pitch.octave, True)


def merged(first: Barline, second: Barline) -> Barline:
    """Two bar lines with no music between them are one."""
    style = max(first.style, second.style, key=STYLES.index)
    return Barline(style, max(first.ends, second.ends), first.starts or second.starts)


class Draft:
    """An event in the making; the class holds what an event is when nothing is said."""

    length: Fraction = ZERO
    tones: tuple[Tone, ...] = ()
    hidden = False
    whole_bar = False
    # Nothing but its own marks stands between the event before and this one.
    close = False
    tuplet: Tuplet | None = None
    grace: tuple[Grace, ...] = ()
    slashed = False
    decorations: tuple[str, ...] = ()
    chord = ""
    annotations: tuple[Annotation, ...] = ()
    lyrics: tuple[Syllable | None, ...] = ()
    slurs_open = 0
    slurs_close = 0

    def event(self, beamed: bool) -> Event:
        return Event(
            self.length,
            self.tones,
            self.hidden,
            self.whole_bar,
            beamed,
            self.tuplet,
            self.grace,
            self.slashed,
            self.decorations,
            self.chord,
            self.annotations,
            self.lyrics,
            self.slurs_open,
            self.slurs_close,
        )

    @property
    def flagged(self) -> bool:
        """A note shorter than a quarter as written, so that a beam can reach it."""
        length = self.length
        if self.tuplet:
            return bool(self.tones) and length * self.tuplet.actual < self.tuplet.normal
        return bool(self.tones) and length.numerator < length.denominator


DraftItem = Draft | Change


class DraftBar:
    """A bar in the making. `layers` are its main layer and overlays."""

    def __init__(self) -> None:
        self.layers: list[list[DraftItem]] = [[]]
        self.close: Barline | None = None
        self.ending: tuple[int, ...] = ()
        self.place: Place | None = None
        # Some event stands in it.
        self.sounds = False

    def bar(self) -> Bar:
        first, *others = (finished(layer) for layer in self.layers)
        return Bar(first, tuple(layer for layer in others if layer), self.close, self.ending, self.place)


def finished(layer: list[DraftItem]) -> tuple[Event | Change, ...]:
    """The items of a layer, with beams drawn between short notes that stand close."""
    items: list[Event | Change] = []
    flagged = False
    for item in layer:
        if isinstance(item, Draft):
            before, flagged = flagged, item.flagged
            items.append(item.event(beamed=before and flagged and item.close))
        else:
            items.append(item)
    return tuple(items)


class Layer:
    """What one layer of a voice remembers from event to event."""

    def __init__(self, rhythm: Rhythm):
        self.rhythm = rhythm
        # Accidentals of ties that wait for their second note, by step and octave.
        self.ties: dict[tuple[str, int], int] = {}
        # Accidentals written in this bar.
        self.accidentals: dict[object, int] = {}
        self.last: Draft | None = None


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
        self.set_key(key)

    def set_key(self, key: Key) -> None:
        self.key = key
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
        layer.last = draft
        self.bar.layers[-1].append(draft)
        self.bar.sounds = True
        return draft

    def _sing(self, draft: Draft) -> None:
        if self.verse or self.symbol_lines:
            self.singable = []
            self.verse = self.symbol_lines = 0
        if draft.tones:
            self.singable.append(draft)

    def tie(self, draft: Draft) -> None:
        """Hold all tones of an event into the next one."""
        draft.tones = tuple(tied(one) for one in draft.tones)
        self.remember_ties(draft)

    def remember_ties(self, draft: Draft) -> None:
        self.layer.ties = {(one.pitch.step, one.pitch.octave): one.pitch.alter for one in draft.tones if one.tied}

    def change(self, item: Change) -> None:
        """Let a key, meter, tempo or remark stand at this spot."""
        self.bar.layers[-1].append(item)

    def overlay(self) -> None:
        """Begin another layer of the same bar."""
        self.bar.layers.append([])
        depth = len(self.bar.layers) - 1
        if depth == len(self.layers):
            rhythm = self.layers[0].rhythm.clone()
            self.layers.append(Layer(Rhythm(rhythm.unit, rhythm.meter)))
        self.layer = self.layers[depth]
        self.layer.accidentals = {}

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

    def part(self) -> Part:
        """The voice as read so far; a bar the text breaks off in stays without a closing line."""
        drafts = self.bars
        if self.bar.sounds:
            drafts = [*drafts, self.bar]
        elif drafts:
            drafts[-1].layers[0].extend(self.bar.layers[0])
        shift = sounding_shift(self.properties)
        if shift is None:
            shift = sounding_shift(self.key.properties) or 0
        bars = tuple(draft.bar() for draft in drafts)
        return Part(bars, self.name, self.properties, self.open, self.program, shift)
