"""The notes of one music21 voice in one bar as events, with all that hangs on them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

from music21 import chord, duration, dynamics, expressions, harmony, note, pitch, spanner, stream

from rwkv_music.render.marks import ARTICULATIONS, EXPRESSIONS
from rwkv_music_tokenizers.keys import Pitch
from rwkv_music_tokenizers.playing import DYNAMICS
from rwkv_music_tokenizers.score import Event, Grace, Syllable, Tone, Tuplet

# Longer tuplets than ABC and our sheets know are written as they sound.
LARGEST_TUPLET = 63
# The finest places in a bar: music21 counts some in floating point.
FINEST = 5040
# music21 class -> the first of our names for it.
_NAMES = {made: name for name, made in reversed([*ARTICULATIONS.items(), *EXPRESSIONS.items()])}


class Marks:
    """What a stream keeps beside its notes."""

    def __init__(self, source: stream.Score):
        self.spanners = list(source.recurse().getElementsByClass(spanner.Spanner))
        # id of a note -> slurs that begin and end with it.
        self.opened: dict[int, int] = defaultdict(int)
        self.closed: dict[int, int] = defaultdict(int)
        for slur in self.spanners:
            if isinstance(slur, spanner.Slur) and len(slur) > 1:
                self.opened[id(slur.getFirst())] += 1
                self.closed[id(slur.getLast())] += 1


def layer_events(
    layer: stream.Stream, measure: stream.Measure, marks: Marks, length: Fraction, main: bool
) -> list[Event]:
    """The events of a voice, gaps filled with hidden rests up to the bar's length."""
    beside = {} if not main else _beside(measure)
    found: list[tuple[note.GeneralNote, Event]] = []
    grace: list[note.NotRest] = []
    now = Fraction(0)
    for element in layer.getElementsByClass(note.GeneralNote):
        if isinstance(element, harmony.ChordSymbol):
            continue
        if element.duration.isGrace:
            if isinstance(element, note.NotRest):
                grace.append(element)
            continue
        onset = Fraction(element.getOffsetBySite(layer)).limit_denominator(FINEST)
        if onset > now:
            found.append((element, Event(onset - now, hidden=True)))
        elif onset < now:
            # A note inside another one of the same voice cannot be told apart from it.
            continue
        event = _event(element, grace, marks)
        symbol, decorations = beside.pop(onset, ("", ()))
        event = replace(event, chord=symbol, decorations=(*decorations, *event.decorations))
        found.append((element, event))
        now, grace = onset + event.length, []
    if now < length:
        found.append((note.Rest(), Event(length - now, hidden=now > 0 or not main)))
    return _in_tuplets(found)


def _beside(measure: stream.Measure) -> dict[Fraction, tuple[str, tuple[str, ...]]]:
    """Place in the bar -> chord symbol and dynamics that stand there."""
    found: dict[Fraction, tuple[str, tuple[str, ...]]] = {}
    for element in measure.recurse().getElementsByClass((harmony.ChordSymbol, dynamics.Dynamic)):
        place = Fraction(element.getOffsetInHierarchy(measure)).limit_denominator(FINEST)
        symbol, decorations = found.get(place, ("", ()))
        if isinstance(element, harmony.ChordSymbol):
            symbol = _chord_name(element)
        elif element.value in DYNAMICS:
            decorations = (*decorations, element.value)
        found[place] = symbol, decorations
    return found


def _chord_name(symbol: harmony.ChordSymbol) -> str:
    """As it is printed: "Bbm7/Db"."""
    root, bass = symbol.root(), symbol.bass()
    kind = symbol.chordKindStr or harmony.getCurrentAbbreviationFor(symbol.chordKind or "major") or ""
    under = f"/{bass.name}" if bass is not None and bass.name != root.name else ""
    return f"{root.name}{kind}{under}".replace("-", "b")


def _event(element: note.GeneralNote, grace: Sequence[note.NotRest], marks: Marks) -> Event:
    length = Fraction(element.duration.quarterLength).limit_denominator(FINEST)
    if not isinstance(element, note.NotRest):
        return Event(length, hidden=bool(element.style.hideObjectOnPrint))
    ids = {id(element), *(map(id, element.notes) if isinstance(element, chord.Chord) else ())}
    return Event(
        length,
        _tones(element),
        beamed=bool(element.beams) and element.beams.beamsList[0].type in ("continue", "stop"),
        grace=tuple(Grace(_tones(one), _grace_length(one)) for one in grace),
        slashed=any(getattr(one.duration, "slash", False) for one in grace),
        decorations=_decorations(element),
        lyrics=_lyrics(element),
        slurs_open=sum(marks.opened.get(one, 0) for one in ids),
        slurs_close=sum(marks.closed.get(one, 0) for one in ids),
    )


def _grace_length(element: note.NotRest) -> Fraction:
    return Fraction(duration.typeToDuration.get(element.duration.type, 0.5)) or Fraction(1, 2)


def _tones(element: note.NotRest) -> tuple[Tone, ...]:
    if isinstance(element, note.Unpitched):
        return (Tone(Pitch(element.displayStep, 0, element.displayOctave)),)
    singles = element.notes if isinstance(element, chord.Chord) else (element,)
    return tuple(
        Tone(_pitch(single.pitch), single.tie is not None and single.tie.type in ("start", "continue"))
        for single in singles
        if isinstance(single, note.Note)
    )


def _pitch(written: pitch.Pitch) -> Pitch:
    alter = round(written.alter)
    return Pitch(written.step, alter, written.implicitOctave)


def _decorations(element: note.NotRest) -> tuple[str, ...]:
    found = [_NAMES[type(sign)] for sign in (*element.articulations, *element.expressions) if type(sign) in _NAMES]
    for sign in element.expressions:
        if isinstance(sign, expressions.Fermata):
            found.append("invertedfermata" if sign.type == "inverted" else "fermata")
    return tuple(found)


def _lyrics(element: note.GeneralNote) -> tuple[Syllable | None, ...]:
    verses = {lyric.number: lyric for lyric in element.lyrics if lyric.text and 0 < lyric.number < 100}
    return tuple(
        Syllable(verses[number].text, verses[number].syllabic in ("begin", "middle")) if number in verses else None
        for number in range(1, max(verses, default=0) + 1)
    )


def _in_tuplets(found: Sequence[tuple[note.GeneralNote, Event]]) -> list[Event]:
    """Events with their places in tuplets: one ends where music21 says so, or where it comes out on a binary place."""
    events: list[Event] = []
    group: list[Event] = []
    ratio = (1, 1)
    for element, event in found:
        tuplets = element.duration.tuplets if event.tones or not event.hidden else ()
        own = (prod(one.numberNotesActual for one in tuplets), prod(one.numberNotesNormal for one in tuplets))
        if group and (own != ratio or any(one.type in ("start", "startStop") for one in tuplets)):
            events += _grouped(group, ratio)
            group = []
        if own[0] == own[1] or max(own) > LARGEST_TUPLET:
            events.append(event)
            continue
        ratio = own
        group.append(event)
        length = sum((one.length for one in group), Fraction(0))
        told = any(one.type in ("stop", "startStop") for one in tuplets)
        if told or (length.denominator & (length.denominator - 1) == 0 and not any(one.type for one in tuplets)):
            events += _grouped(group, ratio)
            group = []
    return events + _grouped(group, ratio)


def _grouped(group: Sequence[Event], ratio: tuple[int, int]) -> list[Event]:
    return [replace(event, tuplet=Tuplet(*ratio, len(group), number)) for number, event in enumerate(group)]
