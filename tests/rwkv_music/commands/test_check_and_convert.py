"""check and convert, and the two verbs that tell what is there."""

import io
import json
import sys

import pytest

from rwkv_music.cli import main

GOOD = "X:1\nT:Good\nM:6/8\nL:1/8\nK:G\nGAB dBA|GAB d3|]\n"
WRONG = "X:1\nT:Wrong\nM:6/8\nL:1/8\nK:G\nGAB dBA|GAB dB|G2B d2ef|G3 G3|]\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.abc").write_text(GOOD)
    (tmp_path / "wrong.abc").write_text(WRONG)
    return tmp_path


def test_bars_that_add_up_are_no_news(folder, capsys):
    assert main(["check", "good.abc"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "good.abc: 1 tune, 2 bars, 0 wrong\n"


def test_every_wrong_bar_is_told_with_its_place_and_by_how_much(folder, capsys):
    assert main(["check", "good.abc", "wrong.abc"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "wrong.abc:6:9: bar 2 holds 5/8 in a 6/8 meter (1/8 too short)",
        "wrong.abc:6:16: bar 3 holds 7/8 in a 6/8 meter (1/8 too long)",
    ]


def test_places_in_a_tunebook_are_those_of_the_file(folder, capsys):
    (folder / "book.abc").write_text(f"{GOOD}\n{WRONG}")
    assert main(["check", "-q", "book.abc"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("book.abc:13:9: bar 2")
    assert shown.err == ""


def test_a_file_without_music_does_not_keep_the_others_from_being_checked(folder, capsys):
    (folder / "empty.abc").write_text("")
    assert main(["check", "empty.abc", "wrong.abc"]) == 1
    shown = capsys.readouterr()
    assert "rwkv-music: empty.abc" in shown.err
    assert "wrong.abc:6:9" in shown.out


def test_standard_input_is_checked(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(WRONG.encode())))
    assert main(["check", "-"]) == 1
    assert capsys.readouterr().out.startswith("-:6:9: ")


@pytest.mark.parametrize("suffix", ["mid", "abc", "json", "musicxml", "svg", "wav"])
def test_a_tune_is_converted_to_every_format(folder, suffix):
    assert main(["convert", "good.abc", f"out.{suffix}"]) == 0
    assert (folder / f"out.{suffix}").stat().st_size > 30


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["good.abc", "out.ogg"], 2, "the suffix chooses the format"),
        (["good.abc", "good.abc"], 1, "good.abc exists; --force overwrites it"),
        (["picture.svg", "out.abc"], 1, "picture.svg: a picture, not ABC"),
        (["good.abc", "out.mid", "--tune", "2"], 1, "good.abc holds 1 tune"),
        (["header.abc", "out.mid"], 1, "header.abc:1:1: no music here"),
        (["good.abc", "nowhere/out.mid"], 1, "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_converted_is_told_in_one_line(folder, capsys, words, code, message):
    (folder / "header.abc").write_text("X:1\nK:G\n")
    (folder / "picture.svg").write_text("<svg/>")
    assert main(["convert", *words]) == code
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_the_first_of_a_tunebook_is_converted_with_a_word(folder, capsys):
    (folder / "book.abc").write_text(f"{GOOD}\n{WRONG}")
    assert main(["convert", "book.abc", "first.json"]) == 0
    assert "book.abc holds 2 tunes; this is number 1 (--tune)" in capsys.readouterr().err
    assert main(["convert", "book.abc", "second.json", "--tune", "2"]) == 0
    titles = [
        dict(json.loads((folder / name).read_text())["score"]["fields"])["T"] for name in ("first.json", "second.json")
    ]
    assert titles == ["Good", "Wrong"]


def test_models_are_listed_and_shown(capsys, tiny_model):
    assert main(["models", "list"]) == 0
    assert main(["models", "show", str(tiny_model)]) == 0
    assert f"weights: {tiny_model}" in capsys.readouterr().out


def test_the_doctor_tells_versions_kernels_and_sound(capsys):
    assert main(["doctor"]) in (0, 1)
    shown = capsys.readouterr().out
    for topic in ("rwkv-music:", "torch:", "numba:", "kernels:", "soundfont:", "model:"):
        assert f"\n{topic}" in f"\n{shown}"


def test_the_doctor_finds_what_is_missing(capsys):
    assert main(["doctor", "--soundfont", "nowhere.sf2"]) == 1
    assert "!! nowhere.sf2: there is no such soundfont file" in capsys.readouterr().out
