"""Slurs and endings, written into finished MusicXML: music21 needs a minute for the endings of a long piece."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement

# MusicXML tells slurs that are open at the same time apart by the numbers 1 to 16.
MOST_SLURS = 16


@dataclass(frozen=True)
class Slur:
    """From the note with one id to the note with another; `number` is free between them."""

    start: str
    end: str
    number: int


@dataclass(frozen=True)
class Ending:
    """Measures [first, end) of a part (all counted from 0) are played on these passes."""

    part: int
    passes: tuple[int, ...]
    first: int
    end: int


@dataclass
class Spans:
    """What reaches over several notes or measures, collected while the notes are written."""

    slurs: list[Slur] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)


def add_spans(root: Element, spans: Spans) -> None:
    """Write the slurs and endings into a score-partwise element whose notes have the slurs' ids."""
    notes = {note.get("id"): note for note in root.iter("note") if note.get("id")}
    for slur in spans.slurs:
        for name, kind in ((slur.start, "start"), (slur.end, "stop")):
            SubElement(_notations(notes[name]), "slur", {"type": kind, "number": str(slur.number)})
    parts = [part.findall("measure") for part in root.findall("part")]
    for ending in spans.endings:
        _bracket(parts[ending.part][ending.first : ending.end], ending.passes)


def _notations(note: Element) -> Element:
    """The element that holds a note's slurs; it stands before the lyrics."""
    found = note.find("notations")
    if found is None:
        found = Element("notations")
        note.insert(len(note) - len(note.findall("lyric")), found)
    return found


def _bracket(measures: Sequence[Element], passes: Sequence[int]) -> None:
    number = ",".join(map(str, passes))
    for measure, location, kind in ((measures[0], "left", "start"), (measures[-1], "right", "stop")):
        line = _barline(measure, location)
        # The order in a bar line is fixed: the ending, then the repeat.
        line.insert(len(line) - len(line.findall("repeat")), Element("ending", number=number, type=kind))


def _barline(measure: Element, location: str) -> Element:
    found = measure.find(f"barline[@location='{location}']")
    if found is None:
        found = Element("barline", location=location)
        measure.insert(0 if location == "left" else len(measure), found)
    return found
