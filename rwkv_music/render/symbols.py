"""Notes, rests and grace notes of a sheet as music21 objects, with their ties, tuplets and beams."""

from collections.abc import Sequence
from fractions import Fraction

from music21 import beam, chord, duration, note, pitch, tie

from rwkv_music.render.values import TupletPlace, Value, flags, group_beams, plain_value
from rwkv_music_tokenizers.keys import Pitch
from rwkv_music_tokenizers.score import Event

# What MusicXML can say.
LOWEST_OCTAVE, HIGHEST_OCTAVE = 0, 9
# Grace notes are printed as a quarter at most.
LONGEST_GRACE = Fraction(1)


def written_pitch(heard: Pitch, shift: int, shown: bool) -> pitch.Pitch:
    """A pitch moved by `shift` semitones (whole octaves); `shown`: its accidental is printed, a natural too."""
    found = pitch.Pitch(heard.step)
    found.octave = max(LOWEST_OCTAVE, min(HIGHEST_OCTAVE, heard.octave + shift // 12))
    accidental = pitch.Accidental(heard.alter)
    accidental.displayStatus = shown
    found.accidental = accidental
    return found


def written_note(pitches: Sequence[pitch.Pitch], value: Value) -> note.NotRest:
    """A note, or for several pitches a chord."""
    length = _duration(value)
    if len(pitches) == 1:
        return note.Note(pitches[0], duration=length)
    return chord.Chord([note.Note(one) for one in pitches], duration=length)


def written_rest(value: Value, hidden: bool) -> note.Rest:
    rest = note.Rest(duration=_duration(value))
    rest.style.hideObjectOnPrint = hidden
    return rest


def whole_bar_rest(event: Event) -> note.Rest:
    """A rest that stands for the whole bar, whatever its length."""
    length = duration.Duration(4)
    length.linked = False
    length.quarterLength = event.length
    rest = note.Rest(duration=length)
    rest.fullMeasure = True
    rest.style.hideObjectOnPrint = event.hidden
    return rest


def _duration(value: Value) -> duration.Duration:
    length = duration.Duration(value.length)
    if value.actual > 1:
        length.appendTuplet(duration.Tuplet(value.actual, value.normal, length.type))
    return length


def mark_tuplet(first: note.GeneralNote, last: note.GeneralNote, place: TupletPlace) -> None:
    """Begin a tuplet at `first`, end one at `last`, as `place` says."""
    for written in {id(first): first, id(last): last}.values():
        begins, ends = place.begins and written is first, place.ends and written is last
        for tuplet in written.duration.tuplets:
            tuplet.bracket = place.bracket
            tuplet.type = "startStop" if begins and ends else "start" if begins else "stop" if ends else None


def add_beams(written: note.NotRest, levels: Sequence[str]) -> None:
    """`levels` are those of `values.beams`."""
    for number, level in enumerate(levels, 1):
        stub = level in ("left", "right")
        made = beam.Beam(type="partial", direction=level) if stub else beam.Beam(type=level)
        made.number = number
        written.beams.append(made)


def tones(written: note.GeneralNote) -> list[note.Note]:
    """The single notes of a note or chord; none for a rest."""
    if isinstance(written, chord.Chord):
        return list(written.notes)
    return [written] if isinstance(written, note.Note) else []


def join(first: note.Note, second: note.Note) -> None:
    """Tie two notes of the same pitch."""
    first.tie = tie.Tie("continue" if first.tie is not None else "start")
    second.tie = tie.Tie("stop")


def grace_notes(event: Event, pitches: Sequence[Sequence[pitch.Pitch]]) -> list[note.NotRest]:
    """The grace notes before an event, beamed together; `pitches` are those of each."""
    lengths = [plain_value(min(grace.length, LONGEST_GRACE)) for grace in event.grace]
    graces: list[note.NotRest] = []
    for length, sounding in zip(lengths, pitches, strict=True):
        grace = written_note(sounding, Value(length))
        grace.getGrace(appoggiatura=not event.slashed, inPlace=True)
        graces.append(grace)
    if len(graces) > 1:
        for grace, levels in zip(graces, group_beams([flags(length) for length in lengths]), strict=True):
            add_beams(grace, levels)
    return graces
