"""A score as a music21 stream: parts, measures, voices, repeats and endings as they are written, nothing unfolded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from music21 import bar as barlines
from music21 import base, expressions, instrument, metadata, note, pitch, stream
from music21.stream.enums import ShowNumber

from rwkv_music.render import marks, symbols
from rwkv_music.render.braces import add_braces
from rwkv_music.render.errors import RenderError
from rwkv_music.render.spans import MOST_SLURS, Ending, Slur, Spans
from rwkv_music.render.values import TupletPlace, beams, tuplet_places, values
from rwkv_music_tokenizers.clefs import Staff, properties, read_staff
from rwkv_music_tokenizers.keys import SHARPS_IN_ORDER, Key, Pitch
from rwkv_music_tokenizers.measures import Measure, measures
from rwkv_music_tokenizers.repeats import sections
from rwkv_music_tokenizers.score import Bar, Event, Item, Meter, Remark, Score, Tempo
from rwkv_music_tokenizers.unfold import first_staffs, signs_of

# Notes, rests, grace notes and bars that a sheet may have.
MAX_SIGNS = 10_000
NOTE_ID = "note-"
# What plays a part that has no name.
NAMELESS = "Melody"


def to_stream(score: Score, remarks: Sequence[str] = (), before: int = 0) -> tuple[stream.Score, Spans]:
    """The score as a music21 stream, notated throughout: music21 need not (and should not) guess anything.

    before: the number of the bar before its first one. Its slurs and endings come apart from it, for `add_spans`.
    Raises RenderError for more than MAX_SIGNS notes, rests and bars.
    """
    signs = sum(1 + _signs(bar) for bar in score.bars())
    if signs > MAX_SIGNS:
        raise RenderError(f"the piece has {signs} notes, rests and bars; a sheet may have {MAX_SIGNS}")
    sheet = stream.Score(id="score")
    sheet.metadata = _metadata(score, remarks)
    spans = Spans()
    for number, (staff, bars) in enumerate(zip(first_staffs(score), measures(score), strict=True)):
        sheet.insert(0, _PartWriter(score, number, staff, spans).write(bars, before))
    add_braces(sheet, score)
    return sheet, spans


def _signs(bar: Bar) -> int:
    layers = (bar.items, *bar.overlays)
    return sum(1 + len(item.grace) for items in layers for item in items if isinstance(item, Event))


def _metadata(score: Score, remarks: Sequence[str]) -> metadata.Metadata:
    made = metadata.Metadata(title=score.title or " ", composer=score.header("C") or score.header("O"))
    for remark in remarks:
        made.addCustom("remark", remark)
    return made


@dataclass
class _Layer:
    """What one layer of a part carries from note to note, over bar lines too."""

    # Notes that wait to be tied to the next one of their pitch.
    tied: dict[Pitch, note.Note] = field(default_factory=dict)
    # Open slurs: the id of the first note, and the slur's number.
    slurs: list[tuple[str, int]] = field(default_factory=list)


class _PartWriter:
    def __init__(self, score: Score, number: int, staff: Staff, spans: Spans):
        self.score = score
        self.number = number
        self.part = score.parts[number]
        self.spans = spans
        self.staff = staff
        self.key = score.key
        self.made = stream.Part()
        self.layers: dict[int, _Layer] = {}
        # Accidentals printed so far in this bar and layer.
        self.printed: dict[tuple[str, int], int] = {}
        # The layer being written has a single event in this bar.
        self.alone = False
        # How many notes slurs begin or end with.
        self.ids = 0
        # Verse -> its last syllable is joined to the next.
        self.joined: dict[int, bool] = {}

    def write(self, bars: Sequence[Measure], before: int) -> stream.Part:
        self._name(f"P{self.number + 1}")
        written: list[stream.Measure] = []
        number = before
        for count, (bar, measure) in enumerate(zip(self.part.bars, bars, strict=True)):
            number += not (measure.start and (count == 0 or bars[count - 1].start == 0))
            made = stream.Measure(number=number)
            if measure.start:
                made.showNumber = ShowNumber.NEVER
            line = self.part.bars[count - 1].close if count else self.part.open
            if line is not None and line.starts:
                made.leftBarline = barlines.Repeat(direction="start")
            self._fill(made, bar, first=count == 0)
            made.rightBarline = marks.written_barline(bar.close) if bar.close else None
            written.append(made)
        # All at once: music21 looks through the whole part at every insertion.
        self.made.append(written)
        for section in sections(signs_of(self.part), 0, len(written)):
            for passes, first, end in section.endings:
                self.spans.endings.append(Ending(self.number, passes, first, end))
        return self.made

    def _name(self, name: str) -> None:
        found = properties(self.part.properties)
        self.made.id = name
        self.made.partName = found.get("name") or found.get("nm") or ""
        self.made.partAbbreviation = found.get("subname") or found.get("snm") or found.get("sname") or ""
        player = instrument.Instrument()
        # Fixed, or music21 invents a different one each time.
        player.partId = name
        player.instrumentId = f"{name}-I1"
        player.instrumentName = self.made.partName or NAMELESS
        player.midiProgram = self.part.program or 0
        self.made.insert(0, player)

    def _fill(self, made: stream.Measure, bar: Bar, first: bool) -> None:
        if first:
            self._begin(made, bar)
        layers = (bar.items, *bar.overlays)
        for number in set(self.layers) - set(range(len(layers))):
            del self.layers[number]
        for number, items in enumerate(layers):
            holder = made if len(layers) == 1 else stream.Voice(id=str(number + 1))
            self.printed = {}
            # Changes belong to the bar: music21 leaves out those that stand in a voice.
            changes = made if not number else None
            self._write_layer(holder, items, self.layers.setdefault(number, _Layer()), changes, first)
            if holder is not made:
                made.insert(0, holder)

    def _begin(self, made: stream.Measure, bar: Bar) -> None:
        """Clef, key, meter and tempo at the very beginning: the header's, or what the first bar says before any note.

        The tempo stands once, over the first part.
        """
        meter, tempo = self.score.meter, None if self.number else self.score.tempo
        for item in bar.items:
            if isinstance(item, Event):
                break
            meter = item if isinstance(item, Meter) else meter
            tempo = item if isinstance(item, Tempo) else tempo
            if isinstance(item, Key):
                self.key, self.staff = item, read_staff(item.properties, self.staff)
        tops = (marks.written_clef(self.staff), marks.written_key(self.key), marks.written_meter(meter))
        for top in (*tops, marks.written_tempo(tempo) if tempo else None):
            if top is not None:
                made.insert(0, top)

    def _write_layer(
        self,
        holder: stream.Stream,
        items: Sequence[Item],
        layer: _Layer,
        changes: stream.Measure | None,
        first: bool,
    ) -> None:
        events = [item for item in items if isinstance(item, Event)]
        self.alone = len(events) == 1
        joins, places = iter(beams(events)), iter(tuplet_places(events))
        offset = Fraction(0)
        for item in items:
            if isinstance(item, Event):
                self._write_event(holder, offset, item, layer, next(joins), next(places))
                offset += item.length
            elif changes is not None and not (first and offset == 0 and not isinstance(item, Remark)):
                for change in self._change(item):
                    changes.insert(offset, change)

    def _change(self, item: Item) -> list[base.Music21Object]:
        found: list[base.Music21Object | None] = []
        if isinstance(item, Key):
            staff = read_staff(item.properties, self.staff)
            if staff.clef != self.staff.clef or staff.clef_octaves != self.staff.clef_octaves:
                found.append(marks.written_clef(staff))
            self.key, self.staff, self.printed = item, staff, {}
            found.append(marks.written_key(item))
        elif isinstance(item, Meter):
            found.append(marks.written_meter(item))
        elif isinstance(item, Tempo):
            found.append(marks.written_tempo(item))
        elif isinstance(item, Remark) and item.letter == "P":
            found.append(expressions.RehearsalMark(item.text))
        return [change for change in found if change is not None]

    def _write_event(
        self,
        holder: stream.Stream,
        offset: Fraction,
        event: Event,
        layer: _Layer,
        joins: Sequence[str],
        place: TupletPlace,
    ) -> None:
        for mark in marks.marks_before(event):
            holder.insert(offset, mark)
        for grace in self._graces(event):
            holder.insert(offset, grace)
        written = self._pieces(event, layer)
        symbols.mark_tuplet(written[0], written[-1], place)
        if isinstance(written[0], note.NotRest):
            symbols.add_beams(written[0], joins)
        marks.add_marks(written[0], event)
        self._add_lyrics(written[0], event)
        if not event.is_rest:
            self._slur(event, layer, written)
        for piece, value in zip(written, values(event), strict=False):
            holder.insert(offset, piece)
            offset += value.length * value.normal / value.actual

    def _graces(self, event: Event) -> list[note.NotRest]:
        pitches = [[self._pitch(tone.pitch, False) for tone in grace.tones] for grace in event.grace if grace.tones]
        return symbols.grace_notes(event, pitches)

    def _pieces(self, event: Event, layer: _Layer) -> list[note.GeneralNote]:
        """The notes (or rests) that write an event, tied to each other and to the ones before."""
        if event.is_rest:
            layer.tied = {}
            if event.whole_bar and self.alone:
                return [symbols.whole_bar_rest(event)]
            return [symbols.written_rest(value, event.hidden) for value in values(event)]
        written: list[note.NotRest] = []
        waiting = layer.tied
        for value in values(event):
            pitches = [self._pitch(tone.pitch, bool(written) or tone.pitch in waiting) for tone in event.tones]
            made = symbols.written_note(pitches, value)
            before = symbols.tones(written[-1]) if written else [waiting.get(tone.pitch) for tone in event.tones]
            for earlier, later in zip(before, symbols.tones(made), strict=True):
                if earlier is not None:
                    symbols.join(earlier, later)
            written.append(made)
        last = symbols.tones(written[-1])
        layer.tied = {tone.pitch: made for tone, made in zip(event.tones, last, strict=True) if tone.tied}
        return list(written)

    def _pitch(self, heard: Pitch, tied: bool) -> pitch.Pitch:
        shown = not tied and self._prints(heard)
        return symbols.written_pitch(heard, self.staff.written_shift, shown)

    def _prints(self, heard: Pitch) -> bool:
        """Is the accidental printed? Also as a reminder, where another octave of the note has a different one."""
        spot = (heard.step, heard.octave)
        if spot in self.printed:
            shown = self.printed[spot] != heard.alter
        else:
            others = {alter for (step, _octave), alter in self.printed.items() if step == heard.step}
            shown = heard.alter != self._signature(heard.step) or bool(others - {heard.alter})
        if shown:
            self.printed[spot] = heard.alter
        return shown

    def _signature(self, step: str) -> int:
        if self.key.pipes:
            return self.key.alter(step)
        return (marks.shown_fifths(self.key) + 6 - SHARPS_IN_ORDER.index(step)) // 7

    def _add_lyrics(self, written: note.GeneralNote, event: Event) -> None:
        for verse, syllable in enumerate(event.lyrics, 1):
            if syllable is not None and not syllable.held:
                written.lyrics.append(marks.lyric(verse, syllable, self.joined.get(verse, False)))
                self.joined[verse] = syllable.joined

    def _slur(self, event: Event, layer: _Layer, written: Sequence[note.GeneralNote]) -> None:
        """Close and open slurs; more than MOST_SLURS open at a time cannot be told apart and are left out."""
        for _close in range(min(event.slurs_close, len(layer.slurs))):
            start, number = layer.slurs.pop()
            self.spans.slurs.append(Slur(start, self._id(written[-1]), number))
        used = {number for other in self.layers.values() for _start, number in other.slurs}
        free = [number for number in range(1, MOST_SLURS + 1) if number not in used]
        layer.slurs += [(self._id(written[0]), number) for number in free[: event.slurs_open]]

    def _id(self, written: note.GeneralNote) -> str:
        """A name by which the note is found again in the MusicXML."""
        first = symbols.tones(written)[0]
        if not str(first.id).startswith(NOTE_ID):
            self.ids += 1
            first.id = f"{NOTE_ID}{self.number + 1}-{self.ids}"
        return str(first.id)
