"""generate with sessions, and the verbs that look at a piece: states, tokens, score, play."""

import json
from pathlib import Path

import pytest

from rwkv_music.cli import main
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.performance_writer import write_performance

TUNE = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:G\nGABc dedB|cBAG A4|\n"
NOTES = [(0, 480, 60, 80), (480, 960, 64, 80), (960, 1920, 67, 80)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty current folder with one tune and one MIDI file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.abc").write_text(TUNE)
    (tmp_path / "song.mid").write_bytes(write_performance(Performance((Track(rows(NOTES, 4)),), 480)))
    return tmp_path


def made(path: Path) -> str:
    return "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("% rwkv-music"))


def run(*words: str) -> int:
    return main(list(words))


def test_a_session_goes_on_from_any_take_and_bar_to_the_same_tokens(folder):
    first = ("generate", "-p", "song.abc", "--bars", "4", "--seed", "5")
    assert run(*first, "-n", "2", "-o", "t.abc", "--save-session", "evening.rwkvsession") == 0
    again = ("generate", "--session", "evening.rwkvsession", "--bars", "2", "--seed", "5")
    assert run(*again, "--take", "1", "--from-bar", "2", "-o", "on.abc") == 0
    assert run("generate", "-p", "song.abc", "--bars", "4", "--seed", "5", "-o", "four.abc") == 0
    # Two bars kept and two made anew with the same generator are the four bars of one go.
    assert made(folder / "on.abc") == made(folder / "four.abc") == made(folder / "t-1.abc")


def test_a_session_that_is_gone_on_with_can_be_kept_again(folder, capsys):
    assert run("generate", "-p", "song.abc", "--bars", "1", "-o", "t.abc", "--save-session", "a.rwkvsession") == 0
    assert (
        run("generate", "--session", "a.rwkvsession", "--bars", "1", "-o", "u.abc", "--save-session", "b.rwkvsession")
        == 0
    )
    capsys.readouterr()
    assert run("states", "show", "b.rwkvsession", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "session" and told["current take"] == 2 and told["take 2"].startswith("from take 1 after")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--session", "none.rwkvsession"], 1, "none.rwkvsession: No such file"),
        (["--session", "song.abc"], 1, "song.abc: not a session"),
        (["--take", "1"], 2, "there is none"),
        (["--session", "song.abc", "-p", "song.abc"], 2, "leave --prompt"),
        (["-p", "song.abc", "--range", "C5-C4"], 2, "--range takes two pitches"),
        (["-p", "song.abc", "--scale", "H"], 2, "--scale takes a key"),
        (["-p", "song.abc", "--only", "violin", "-m", "abc-folk"], 1, "one melody"),
        (["--prompt-bars", "3"], 2, "there is none"),
        (["-p", "song.abc", "--instruments", "piano", "-m", "abc-folk"], 1, "one melody"),
        (["-p", "empty.mid"], 1, "no such file"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(folder, capsys, words, code, message):
    assert run("generate", *words, "-o", "t.abc") == code
    error = capsys.readouterr().err
    assert message in error and error.count("rwkv-music: ") == 1
    assert not (folder / "t.abc").exists()


def test_the_first_bars_of_a_prompt_are_heard(folder):
    assert run("generate", "-p", "song.abc", "--prompt-bars", "1", "--bars", "1", "--seed", "1", "-o", "t.abc") == 0
    assert made(folder / "t.abc").startswith("X:1\nT:A Tune\nM:4/4\nL:1/8\nK:G\nGABc dedB|")
    assert "cBAG A4" not in made(folder / "t.abc")


def test_a_tempo_stands_in_the_tune(folder):
    assert run("generate", "--tempo", "96", "--bars", "1", "-o", "t.abc") == 0
    assert "\nQ:1/4=96\n" in made(folder / "t.abc")


def test_seconds_are_bars_at_the_tempo_of_the_tune(folder):
    # Four bars of 4/4 at 60 quarters a minute last 16 s.
    words = ("generate", "--tempo", "60", "--meter", "4/4", "--key", "G", "--seed", "4")
    assert run(*words, "--seconds", "14", "-o", "s.abc") == 0
    assert run(*words, "--bars", "4", "-o", "b.abc") == 0
    assert made(folder / "s.abc") == made(folder / "b.abc")


def test_a_midi_file_is_told_in_tokens_of_every_code(folder, capsys):
    for code, beginning in (
        ("notes", "<bos> <grid> kind:"),
        ("midi", "pi:3c:"),
        ("midipiano", "p:3c:"),
        ("abc", "M:4/4"),
    ):
        assert run("tokens", "song.mid", "-t", code) == 0
        assert capsys.readouterr().out.startswith(beginning)
        assert run("tokens", "song.mid", "-t", code, "--ids") == 0
        assert all(word.isdecimal() for word in capsys.readouterr().out.split())
        assert run("tokens", "song.mid", "-t", code, "--report") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["tokenizer"] == code and told["notes"] == 3 and told["tokens"] > 3


def test_the_reference_text_is_that_of_the_published_tool(folder, capsys):
    assert run("tokens", "song.mid", "-t", "midipiano", "--reference") == 0
    assert capsys.readouterr().out == "<start> p:3c:c t62 p:3c:0 p:40:c t62 p:40:0 p:43:c t125 p:43:0 <end>\n"
    assert run("tokens", "song.mid", "-t", "notes", "--reference") == 2


def test_a_model_tells_what_surprises_it(folder, capsys):
    assert run("score", "song.abc") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["notes"] == 13 and len(told["bars"]) == 2 and told["model"] == "abc-folk"
    assert told["bits"] == pytest.approx(told["bits_per_token"] * told["tokens"], rel=1e-3)
    # What ends the piece belongs to no bar.
    assert 0 < told["bits"] - sum(bar["bits"] for bar in told["bars"]) < told["bits"]
    assert run("score", "song.abc", "-o", "song.svg") == 0
    assert b"<svg" in (folder / "song.svg").read_bytes()


def test_playing_needs_something_that_plays(folder, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    assert run("play", "song.mid") == 1
    assert "nothing here plays sound" in capsys.readouterr().err
    player = folder / "aplay"
    player.write_text('#!/bin/sh\nhead -c 4 "$2" > heard\n')
    player.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    assert run("play", "song.mid") == 0
    assert (folder / "heard").read_text() == "RIFF"
