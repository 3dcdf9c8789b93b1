"""One piece through every form and back: what is written stays written, what is played stays played."""

import io
import struct
import sys
import zipfile

import pytest

from rwkv_music.cli import main
from rwkv_music.reading.pieces import read_performance, read_piece, read_score
from rwkv_music.render.plain import write_json
from rwkv_music.render.sheet import musicxml
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_tokenizers.unfold import performed_notes

SCORE = read_abc("X:1\nT:Air\nM:3/4\nL:1/8\nQ:1/4=90\nK:D\nD2 FA f2|(3DEF G2 A2|B6|]\n")
TIMES = [(note.onset, note.length, note.pitch) for note in performed_notes(SCORE)]


def mxl(text: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfile full-path="a.xml"/></container>')
        archive.writestr("a.xml", text)
    return held.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "air.abc").write_text("X:1\nT:Air\nM:3/4\nL:1/8\nQ:1/4=90\nK:D\nD2 FA f2|(3DEF G2 A2|B6|]\n")
    (tmp_path / "air.mid").write_bytes(write_midi(SCORE))
    (tmp_path / "air.json").write_text(write_json(SCORE))
    (tmp_path / "air.musicxml").write_text(musicxml(SCORE))
    (tmp_path / "air.mxl").write_bytes(mxl(musicxml(SCORE)))
    return tmp_path


PAIRS = [
    *((source, target) for source in ("mid", "json") for target in ("abc", "mid", "musicxml", "json")),
    *((source, "abc") for source in ("musicxml", "mxl")),
    ("musicxml", "mid"),
    ("abc", "musicxml"),
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_piece_stays_itself_from_every_form_to_every_form(folder, capsys, source, target):
    assert main(["convert", f"air.{source}", f"out.{target}"]) == 0
    assert capsys.readouterr().err == ""
    made = folder / f"out.{target}"
    if target == "mid":
        found = read_midi(made.read_bytes())
        assert [(start, pitch) for start, _, pitch, _ in found.tracks[0].notes.tolist()] == [
            (int(onset * 480), pitch) for onset, _, pitch in TIMES
        ]
        assert found.tempos.tolist() == [[0, 666_667]]
        return
    score = read_score(made)
    assert [(note.onset, note.length, note.pitch) for note in performed_notes(score)] == TIMES
    assert (score.title, score.meter, score.key, score.tempo) == (SCORE.title, SCORE.meter, SCORE.key, SCORE.tempo)


@pytest.mark.parametrize("target", ["svg", "wav", "pdf"])
def test_midi_is_engraved_and_heard(folder, target):
    assert main(["convert", "air.mid", f"out.{target}"]) == 0
    assert (folder / f"out.{target}").stat().st_size > 1000


def free() -> Performance:
    """Played freely, with pedal."""
    notes = [(number * 251 + number % 3 * 37, number * 251 + 190, 60 + number, 50 + number) for number in range(16)]
    return Performance((Track(rows(notes, 4), 5, name="Klavier", pedals=rows([(3, 700)], 2)),), 480, title="Frei")


def test_what_is_played_goes_from_midi_to_midi_untouched(folder, capsys):
    (folder / "free.mid").write_bytes(write_performance(free()))
    assert main(["convert", "free.mid", "out.mid"]) == 0
    assert capsys.readouterr().err == ""
    assert (folder / "out.mid").read_bytes() == (folder / "free.mid").read_bytes()


def test_approximate_notation_is_told_unless_quiet_and_stands_in_the_tune(folder, capsys):
    (folder / "free.mid").write_bytes(write_performance(free()))
    assert main(["convert", "free.mid", "out.abc"]) == 0
    assert capsys.readouterr().err.startswith("free.mid: approximate notation: played freely, written in ")
    assert "\nN:approximate notation: " in (folder / "out.abc").read_text()
    assert main(["convert", "free.mid", "out.abc", "--force", "-q", "--grid", "1/16"]) == 0
    assert capsys.readouterr().err == ""
    assert "written in 1/16;" in (folder / "out.abc").read_text()


def test_repairs_are_told(folder, capsys):
    (folder / "cut.mid").write_bytes((folder / "air.mid").read_bytes()[:-4])
    assert main(["convert", "cut.mid", "out.mid"]) == 0
    assert "the track breaks off without its end" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["air.mid", "air.musicxml", "air.mxl", "air.json", "air.abc"])
def test_standard_input_is_known_by_what_it_begins_with(folder, monkeypatch, name):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / name).read_bytes())))
    assert read_piece(None).written()[0].meter.text == "3/4"


def test_every_form_can_be_played(folder):
    for name in ("air.mid", "air.json", "air.abc"):
        assert read_performance(folder / name).count == len(TIMES)


HEADER = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96)
BAD = {
    "empty.mid": (b"", "this is no MIDI file"),
    "silent.mid": (HEADER + b"MTrk\0\0\0\4\0\xff\x2f\0", "no note sounds in it"),
    "trackless.mid": (HEADER, "byte 14: no track follows the header"),
    "long.mid": (b"MThd" + b"\0" * (8 << 20), "more than 8192 KiB of MIDI"),
    "text.musicxml": (b"hello", "not well-formed XML"),
    "page.xml": (b"<html/>", "this is no MusicXML"),
    "bad.mxl": (b"PK\3\4nothing", "no compressed MusicXML"),
    "list.json": (b"[1]", "not a score"),
    "half.json": (b'{"format":', "not JSON"),
    "binary.abc": (b"X:1\0\1", "not a text file"),
    "deep.json": (b"[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_1(folder, capsys, name):
    content, message = BAD[name]
    (folder / name).write_bytes(content)
    assert main(["convert", name, "out.abc"]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert name in told
    assert told.count("\n") == 1
    assert not (folder / "out.abc").exists()


def test_a_tune_is_chosen_from_abc_alone(folder, capsys):
    assert main(["convert", "air.mid", "out.abc", "--tune", "2"]) == 1
    assert "--tune chooses from a tunebook of ABC, and this is MIDI" in capsys.readouterr().err
