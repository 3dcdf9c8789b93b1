"""Everything on a sheet that is no note, as music21 objects: clefs, keys, meters, bar lines, tempos, signs, chords, text."""

import re
from collections.abc import Iterator
from typing import Literal

from music21 import (
    articulations,
    bar,
    base,
    clef,
    dynamics,
    expressions,
    harmony,
    key,
    meter,
    note,
    repeat,
    tempo,
)

from rwkv_music_tokenizers.chords import parse_chord
from rwkv_music_tokenizers.clefs import Staff
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.playing import DYNAMICS
from rwkv_music_tokenizers.score import Annotation, Barline, Event, Meter, Syllable, Tempo
from rwkv_music_tokenizers.unfold import jump_word

ARTICULATIONS = {
    "staccato": articulations.Staccato,
    "tenuto": articulations.Tenuto,
    "accent": articulations.Accent,
    "wedge": articulations.Staccatissimo,
    "staccatissimo": articulations.Staccatissimo,
    "marcato": articulations.StrongAccent,
    "breath": articulations.BreathMark,
    "shortphrase": articulations.BreathMark,
    "upbow": articulations.UpBow,
    "downbow": articulations.DownBow,
    "open": articulations.OpenString,
    "snap": articulations.SnapPizzicato,
    "thumb": articulations.StringThumbPosition,
    "+": articulations.Stopped,
}
EXPRESSIONS = {
    "trill": expressions.Trill,
    # The roll of Irish music has no sign of its own in MusicXML; it is printed like a turn.
    "roll": expressions.Turn,
    "turn": expressions.Turn,
    "invertedturn": expressions.InvertedTurn,
    "lowermordent": expressions.Mordent,
    "uppermordent": expressions.InvertedMordent,
    "arpeggio": expressions.ArpeggioMark,
}
FERMATAS = {"fermata": "upright", "invertedfermata": "inverted"}
JUMP_MARKS = {
    "segno": repeat.Segno,
    "coda": repeat.Coda,
    "fine": repeat.Fine,
    "dc": repeat.DaCapo,
    "dcalfine": repeat.DaCapoAlFine,
    "dcalcoda": repeat.DaCapoAlCoda,
    "ds": repeat.DalSegno,
    "dsalfine": repeat.DalSegnoAlFine,
    "dsalcoda": repeat.DalSegnoAlCoda,
}
# Semitones above the root -> MusicXML's name; other chords count as "major" there and are printed as written.
CHORD_KINDS = {
    (0, 4, 7): "major",
    (0, 3, 7): "minor",
    (0, 4, 8): "augmented",
    (0, 3, 6): "diminished",
    (0, 4, 7, 10): "dominant-seventh",
    (0, 4, 7, 11): "major-seventh",
    (0, 3, 7, 10): "minor-seventh",
    (0, 3, 6, 9): "diminished-seventh",
    (0, 3, 6, 10): "half-diminished-seventh",
    (0, 4, 7, 9): "major-sixth",
    (0, 3, 7, 9): "minor-sixth",
    (0, 2, 7): "suspended-second",
    (0, 5, 7): "suspended-fourth",
    (0, 7): "power",
}
BARLINES = {
    "single": "regular",
    "double": "double",
    "final": "final",
    "heavy-start": "heavy-light",
    "dotted": "dotted",
    "hidden": "none",
}
# Clef name -> sign and usual line.
CLEFS = {"treble": ("G", 2), "bass": ("F", 4), "alto": ("C", 3), "tenor": ("C", 4)}
# (joined to the syllable before, joined to the next) -> place in the word.
SYLLABICS: dict[tuple[bool, bool], Literal["single", "begin", "middle", "end"]] = {
    (False, False): "single",
    (False, True): "begin",
    (True, True): "middle",
    (True, False): "end",
}
LONGEST_TEXT = 500
_CHORD_NAME = re.compile(r"([A-Ga-g])([#b♯♭]?)([^/]*)(?:/\s*([A-Ga-g])([#b♯♭]?))?")
ALTERATIONS = {"b": "♭", "#": "♯"}
_ALTERATION = re.compile(r"[b#](?=\d)")
_ACCIDENTALS = str.maketrans("b♭♯", "--#")
_METER = re.compile(r"\(?(\d{1,2}(?:\+\d{1,2})*)\)?/(1|2|4|8|16|32|64)")


def written_clef(staff: Staff) -> clef.Clef:
    """The clef of a staff; MusicXML moves its notes by `clef_octaves`."""
    if staff.clef not in CLEFS:
        return clef.PercussionClef() if staff.clef == "perc" else clef.NoClef()
    sign, line = CLEFS[staff.clef]
    return clef.clefFromString(f"{sign}{staff.line or line}", octaveShift=staff.clef_octaves)


def written_key(signature: Key) -> key.KeySignature:
    """The mode's own sharps or flats; the rest is written at the notes. "HP" shows none."""
    return key.KeySignature(shown_fifths(signature))


def shown_fifths(signature: Key) -> int:
    """Sharps (flats negative) printed at the beginning of the line."""
    return 0 if signature.pipes == "HP" else max(-7, min(7, signature.fifths))


def written_meter(signature: Meter) -> meter.TimeSignature | None:
    """None for free meter, and for what cannot be printed."""
    if signature.bar is None:
        return None
    if signature.text in ("C", "C|"):
        return meter.TimeSignature("common" if signature.text == "C" else "cut")
    match = _METER.fullmatch(signature.text)
    if match is None or "0" in match[1].split("+"):
        return None
    return meter.TimeSignature("+".join(f"{over}/{match[2]}" for over in match[1].split("+")))


def written_tempo(mark: Tempo) -> tempo.TempoIndication | None:
    """A metronome mark with its word, or the word alone."""
    word = mark.text[:LONGEST_TEXT]
    if mark.bpm is not None and mark.bpm > 0:
        number = int(mark.bpm) if mark.bpm.denominator == 1 else float(mark.bpm)
        return tempo.MetronomeMark(word or None, number, note.Note(quarterLength=mark.beat))
    return tempo.TempoText(word) if word else None


def written_barline(line: Barline) -> bar.Barline | None:
    """The line that ends a bar, None for the plain one."""
    if line.ends:
        return bar.Repeat(direction="end", times=line.ends + 1 if line.ends > 1 else None)
    return None if line.style == "single" else bar.Barline(BARLINES[line.style])


def add_marks(written: note.GeneralNote, event: Event) -> None:
    """The signs that belong to the note itself; those that nobody can print are left out."""
    for name in event.decorations:
        if name in ARTICULATIONS:
            written.articulations.append(ARTICULATIONS[name]())
        elif name in EXPRESSIONS:
            written.expressions.append(EXPRESSIONS[name]())
        elif name in FERMATAS:
            fermata = expressions.Fermata()
            fermata.type = FERMATAS[name]
            written.expressions.append(fermata)
        elif len(name) == 1 and name in "012345":
            written.articulations.append(articulations.Fingering(int(name)))


def marks_before(event: Event) -> Iterator[base.Music21Object]:
    """What stands in the bar where the event begins: chord symbol, dynamics, jump signs, free text."""
    if event.chord:
        yield written_chord(event.chord)
    for name in event.decorations:
        if name in DYNAMICS or name == "sfz":
            yield dynamics.Dynamic(name)
        elif (word := jump_word(name)) in JUMP_MARKS:
            yield JUMP_MARKS[word]()
        elif word == "tocoda":
            yield expressions.TextExpression("To Coda")
    for annotation in event.annotations:
        yield written_text(annotation)


def written_chord(text: str) -> base.Music21Object:
    """A chord symbol printed as it is written; text that names no chord is text above the staff."""
    symbol = parse_chord(text)
    name = _CHORD_NAME.match(text.strip().strip("()"))
    if symbol is None or name is None:
        return written_text(Annotation("^", text))
    root = name[1].upper() + name[2].translate(_ACCIDENTALS)
    kind = CHORD_KINDS.get(symbol.tones, "major")
    bass = name[4].upper() + (name[5] or "").translate(_ACCIDENTALS) if name[4] else root
    quality = _ALTERATION.sub(lambda sign: ALTERATIONS[sign[0]], name[3].strip())
    return harmony.ChordSymbol(root=root, bass=bass, kind=kind, kindStr=quality)


def written_text(annotation: Annotation) -> expressions.TextExpression:
    text = expressions.TextExpression(annotation.text[:LONGEST_TEXT])
    # music21 annotates this attribute as None only.
    setattr(text, "placement", "below" if annotation.placement == "_" else "above")  # noqa: B010
    return text


def lyric(number: int, syllable: Syllable, joined_before: bool) -> note.Lyric:
    """A syllable of verse `number` (from 1)."""
    syllabic = SYLLABICS[joined_before, syllable.joined]
    return note.Lyric(syllable.text, number=number, syllabic=syllabic, applyRaw=True)
