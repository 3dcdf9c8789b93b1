"""A music21 stream as a score: parts, bars, layers, repeats and endings as they are written."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from music21 import bar, clef, key, meter, note, spanner, stream, tempo

from rwkv_music.reading.music21_events import FINEST, Marks, layer_events
from rwkv_music.render.notation import NAMELESS
from rwkv_music_tokenizers.abc_fields import read_meter
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Bar, Barline, Event, Item, Meter, Part, Score, Tempo
from rwkv_music_tokenizers.spelling import key_of

CLEFS = (
    (clef.PercussionClef, "perc"),
    (clef.BassClef, "bass"),
    (clef.AltoClef, "alto"),
    (clef.TenorClef, "tenor"),
)
BARLINES = {"final": "final", "double": "double", "heavy-light": "heavy-start", "dotted": "dotted", "none": "hidden"}
SIGNATURES = {"common": "C", "cut": "C|"}
CHANGES = (key.KeySignature, meter.TimeSignature, tempo.TempoIndication)
COMMON_TIME = Meter("4/4", Fraction(4))


def score_of(source: stream.Score) -> Score:
    """The score. Raises NotationError where there is no music in it."""
    # Slurs and endings are kept beside the notes; looked up once.
    marks = Marks(source)
    parts = [_Part(part, marks, count) for count, part in enumerate(source.parts)]
    if not any(part.bars for part in parts):
        raise NotationError("there is no music in it")
    first = parts[0]
    fields = [("T", source.metadata.title or source.metadata.movementName), ("C", source.metadata.composer)]
    return Score(
        tuple(part.made(len(parts), first.key) for part in parts),
        first.meter,
        first.key,
        next((part.tempo for part in parts if part.tempo), None),
        fields=tuple((letter, text) for letter, text in fields if text and text.strip()),
    )


class _Part:
    """A part being read: `key`, `meter` and `tempo` are those that it begins with."""

    def __init__(self, source: stream.Part, marks: Marks, number: int):
        self.source = source
        self.number = number
        self.key, self.meter = Key(), COMMON_TIME
        self.tempo: Tempo | None = None
        self.bars: list[Bar] = []
        self._open: Barline | None = None
        self._endings = {
            id(bracket.getFirst()): tuple(bracket.numberRange)
            for bracket in marks.spanners
            if isinstance(bracket, spanner.RepeatBracket)
        }
        self._bar_length = COMMON_TIME.bar
        for place, measure in enumerate(source.getElementsByClass(stream.Measure)):
            self._read(measure, marks, first=place == 0)

    def made(self, count: int, shared: Key) -> Part:
        """The part among `count`; where its key is not the shared one, its first bar says so."""
        bars = self.bars
        if bars and self.key != shared:
            bars = [replace(bars[0], items=(self.key, *bars[0].items)), *bars[1:]]
        player = self.source.getInstrument(returnDefault=False)
        interval = player.transposition if player else None
        shift = int(interval.semitones) if interval else 0
        found = [self._clef(), f"transpose={shift}" if shift else ""]
        if self.source.partName and self.source.partName != NAMELESS:
            name = " ".join(self.source.partName.replace('"', "'").split())
            found.append(f'name="{name}"')
        name = str(self.number + 1) if count > 1 else ""
        properties = " ".join(filter(None, found))
        program = player.midiProgram if player else None
        return Part(tuple(bars), name, properties, self._open, program, shift)

    def _clef(self) -> str:
        first = next(iter(self.source.recurse().getElementsByClass(clef.Clef)), None)
        return next((f"clef={name}" for kind, name in CLEFS if isinstance(first, kind)), "")

    def _read(self, measure: stream.Measure, marks: Marks, first: bool) -> None:
        changes = sorted(self._changes(measure, first), key=lambda change: change[0])
        layers = list(measure.voices)
        if not layers or measure.getElementsByClass(note.GeneralNote):
            layers.insert(0, measure)
        length = self._length(measure)
        written = [layer_events(layer, measure, marks, length, main=not n) for n, layer in enumerate(layers)]
        for events in written:
            if len(events) == 1 and events[0].is_rest and events[0].length == self._bar_length:
                events[0] = replace(events[0], whole_bar=True)
        main = tuple(_merged(written[0], changes))
        overlays = tuple(tuple(events) for events in written[1:] if any(event.tones for event in events))
        if isinstance(measure.leftBarline, bar.Repeat):
            self._begin_repeat()
        ending = self._endings.get(id(measure), ())
        self.bars.append(Bar(main, overlays, _barline(measure.rightBarline), ending))

    def _begin_repeat(self) -> None:
        if self.bars:
            close = self.bars[-1].close or Barline()
            self.bars[-1] = replace(self.bars[-1], close=replace(close, starts=True))
        else:
            self._open = Barline(starts=True)

    def _length(self, measure: stream.Measure) -> Fraction:
        """What the measure's notes take; of one without any the meter's bar."""
        return Fraction(measure.highestTime) or self._bar_length or Fraction(4)

    def _changes(self, measure: stream.Measure, first: bool) -> Iterator[tuple[Fraction, Item]]:
        """Changes of key, meter and tempo with their places in the bar; what the part begins with is not one."""
        for element in measure.recurse().getElementsByClass(CHANGES):
            place = Fraction(element.getOffsetInHierarchy(measure)).limit_denominator(FINEST)
            change = _change(element)
            if isinstance(change, Meter):
                self._bar_length = change.bar
            if change is None:
                continue
            if first and not place:
                if isinstance(change, Key):
                    self.key = change
                elif isinstance(change, Meter):
                    self.meter = change
                else:
                    self.tempo = change
            elif not isinstance(change, Tempo) or self.number == 0:
                yield place, change


def _change(element: object) -> Key | Meter | Tempo | None:
    if isinstance(element, key.KeySignature):
        mode = element.mode if isinstance(element, key.Key) else "major"
        return key_of(max(-7, min(7, element.sharps)), mode == "minor")
    if isinstance(element, meter.TimeSignature):
        return read_meter(SIGNATURES.get(element.symbol or "", element.ratioString))
    if isinstance(element, tempo.MetronomeMark) and element.number:
        bpm = Fraction(element.number).limit_denominator(1000)
        beat = Fraction(getattr(element.referent, "quarterLength", 1))
        return Tempo(bpm, beat, "" if element.textImplicit else str(element.text or ""))
    if isinstance(element, tempo.TempoText):
        return Tempo(text=str(element.text))
    return None


def _merged(events: Sequence[Event], changes: Sequence[tuple[Fraction, Item]]) -> Iterator[Item]:
    """Events with each change before the first that is not earlier."""
    waiting = list(changes)
    onset = Fraction(0)
    for event in events:
        while waiting and waiting[0][0] <= onset:
            yield waiting.pop(0)[1]
        yield event
        onset += event.length
    for _, change in waiting:
        yield change


def _barline(line: bar.Barline | None) -> Barline:
    if isinstance(line, bar.Repeat):
        return Barline(ends=max(1, (line.times or 2) - 1))
    return Barline(BARLINES.get(line.type or "", "single") if line is not None else "single")
