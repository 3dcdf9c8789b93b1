"""MusicXML read: what we write comes back, what others write is taken, and what is hostile is refused in a line."""

import io
import zipfile

import pytest

from rwkv_music.reading.musicxml import MusicXmlError, read_musicxml
from rwkv_music.render.sheet import musicxml
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.score import Score
from rwkv_music_tokenizers.unfold import performed_notes, unfold

TUNE = """X:1
T:Die Übung
C:trad.
M:3/4
L:1/8
Q:1/4=90
K:D
|: "D"D2 {g}FA .f2 | "A7"[dfa]4 z2 | (3DEF G2 Ta2 | (B2 c4-) |1 c6 :|2 !f!c4 d>e |]
w: la li lu lö la
[K:G] [M:6/8] B3 ^A3 & D6 | Z | _B,3 =C,3 |]
"""


def plain(score: Score) -> tuple:
    """What is written, without the names that each form has its own of."""
    return [[(bar.items, bar.overlays, bar.ending, bar.close) for bar in part.bars] for part in score.parts], (
        score.meter,
        score.key,
        score.tempo,
        score.title,
    )


def test_what_we_write_comes_back():
    score = read_abc(TUNE)
    again = read_musicxml(musicxml(score).encode())
    assert plain(again) == plain(score)


def test_voices_keep_their_instruments_names_and_clefs():
    score = read_abc(
        'X:1\nM:4/4\nL:1/4\nK:C\nV:1 name="Flöte"\nV:2 clef=bass\nV:1\n%%MIDI program 73\nCDEF|]\nV:2\nC,4|]\n'
    )
    again = read_musicxml(musicxml(score).encode())
    assert [part.program for part in again.parts] == [73, None]
    assert [part.properties for part in again.parts] == ['name="Flöte"', "clef=bass"]
    assert [(note.onset, note.length, note.pitch) for note in performed_notes(unfold(again))] == [
        (note.onset, note.length, note.pitch) for note in performed_notes(unfold(score))
    ]


def packed(text: bytes, name: str = "score.xml", contents: str | None = None) -> bytes:
    """A compressed score."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        listed = contents or f'<container><rootfiles><rootfile full-path="{name}"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", listed)
        archive.writestr(name, text)
    return held.getvalue()


def test_a_compressed_score_is_read():
    score = read_abc("X:1\nT:Air\nM:4/4\nL:1/4\nK:G\nGABc|]\n")
    assert plain(read_musicxml(packed(musicxml(score).encode()))) == plain(score)


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 9 if n else "ha"}">' for n in range(9))
NOTE = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>1</duration></note>"
REFUSED = {
    "nothing": (b"", "not well-formed XML"),
    "text": (b"X:1", "not well-formed XML"),
    "a page": (b"<html><body/></html>", "it begins with <html>"),
    "an entity": (
        b'<!DOCTYPE score-partwise [<!ENTITY a SYSTEM "/etc/passwd">]><score-partwise>&a;</score-partwise>',
        "entity",
    ),
    "a billion laughs": (f"<!DOCTYPE score-partwise [{BOMB}]><score-partwise>&a8;</score-partwise>".encode(), "entity"),
    "a tower": (b"<score-partwise>" + b"<part>" * 100, "64 levels"),
    "a crowd": (b"<score-partwise>" + b"<a/>" * 400_001, "400,000 elements"),
    "no music": (b"<score-partwise/>", "this MusicXML cannot be read"),
    "half an archive": (packed(b"<score-partwise/>")[:60], "no compressed MusicXML"),
    "no contents": (packed(b"", contents="<container/>"), "names no score"),
    "a score that is not there": (
        packed(b"", contents='<c><rootfile full-path="x.xml"/></c>'),
        "no compressed MusicXML",
    ),
    "a zip bomb": (packed(b" " * ((16 << 20) + 1)), "unpacks to more than"),
    "contents without end": (packed(b"", contents="<c>" + " " * (65 << 10)), "unpacks to more than"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_musicxml_or_hostile_is_refused_in_a_line(case: str):
    content, message = REFUSED[case]
    with pytest.raises(MusicXmlError, match=message) as caught:
        read_musicxml(content)
    assert "\n" not in str(caught.value)


def test_reading_has_an_end():
    xml = musicxml(read_abc("X:1\nK:G\nGABc|]\n")).encode()
    with pytest.raises(MusicXmlError, match="reading takes more than 0 s"):
        read_musicxml(xml, time_limit=0.01)


def test_a_transposing_instrument_is_written_in_its_key_and_sounds_in_ours():
    xml = f"""<score-partwise><part-list><score-part id="P1"><part-name>Clarinet in Bb</part-name></score-part></part-list>
    <part id="P1"><measure number="1"><attributes><divisions>1</divisions><key><fifths>2</fifths></key>
    <time><beats>1</beats><beat-type>4</beat-type></time><transpose><diatonic>-1</diatonic><chromatic>-2</chromatic>
    </transpose></attributes>{NOTE}</measure></part></score-partwise>"""
    score = read_musicxml(xml.encode())
    assert score.key.tonic == "D"
    assert [note.pitch for note in performed_notes(score)] == [58]
