"""generate: what it takes, what it writes, what it remembers, and what it refuses."""

import io
import json
import re
import signal
import sys

import pytest

from rwkv_music.cli import main
from rwkv_music.making import read_making

TUNE = "X:1\nT:A Tune\nC:Trad.\nR:reel\nM:4/4\nL:1/8\nK:G\nGABc dedB|cBAG A4|\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder with one tune in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.abc").write_text(TUNE)
    return tmp_path


def generate(*words: str) -> int:
    return main(["generate", *words])


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def without_remark(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("% rwkv-music"))


def test_the_prompt_stands_at_the_start_and_the_bars_are_counted(folder, engine):
    engine()
    assert generate("--prompt", "song.abc", "--bars", "2", "-o", "t.abc") == 0
    assert without_remark((folder / "t.abc").read_text()) == TUNE.rstrip() + "GABc d4|edBA G4|]\n"


def test_without_o_the_tune_is_printed_and_written_under_a_fresh_name(folder, engine, capsys):
    engine()
    for number in (1, 2):
        assert generate("-p", "song.abc", "--bars", "1", "--seed", "3") == 0
        shown = capsys.readouterr()
        assert shown.out.startswith(TUNE.rstrip())
        assert shown.err.endswith(f"seed 3: wrote song-{number}.abc, song-{number}.mid\n")
    assert names(folder) == ["song-1.abc", "song-1.mid", "song-2.abc", "song-2.mid", "song.abc"]


def test_a_dash_prints_the_tune_and_writes_nothing(folder, engine, capsys):
    engine()
    assert generate("-p", "song.abc", "--bars", "1", "-o", "-") == 0
    assert without_remark(capsys.readouterr().out) == TUNE.rstrip() + "GABc d4|]\n"
    assert names(folder) == ["song.abc"]


def test_takes_are_numbered_and_have_their_own_seeds(folder, engine):
    engine()
    assert generate("-p", "song.abc", "--bars", "1", "-n", "3", "--seed", "7", "-o", "t.abc", "-o", "t.mid") == 0
    assert names(folder) == ["song.abc", *(f"t-{n}.{suffix}" for n in (1, 2, 3) for suffix in ("abc", "mid"))]
    assert [read_making(folder / f"t-{number}.mid").seed for number in (1, 2, 3)] == [7, 8, 9]


def test_standard_input_and_abc_itself_are_prompts(folder, engine, capsys, monkeypatch):
    engine()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TUNE.encode())))
    assert generate("-p", "-", "--bars", "1", "-o", "-") == 0
    assert capsys.readouterr().out.startswith(TUNE.rstrip() + "GABc d4|]")
    assert generate("-p", r"K:D\nGABc dedB|", "--bars", "1", "-o", "-") == 0
    assert capsys.readouterr().out.startswith("X:1\nK:D\nGABc dedB|GABc d4|]\n")


def test_a_header_is_made_from_options(folder, engine, capsys):
    engine("GAB def|")
    assert generate("--rhythm", "jig", "--key", "D", "--bars", "1") == 0
    assert capsys.readouterr().out.startswith("X:1\nT:Jig in D\nR:jig\nM:6/8\nL:1/8\nK:D\nGAB def|]\n")
    assert names(folder) == ["jig-1.abc", "jig-1.mid", "song.abc"]


def test_nothing_is_overwritten_unless_forced(folder, engine, capsys):
    engine()
    (folder / "t.mid").write_text("mine")
    assert generate("-p", "song.abc", "--bars", "1", "-o", "t.abc", "-o", "t.mid") == 1
    assert "t.mid exists; --force overwrites it" in capsys.readouterr().err
    assert names(folder) == ["song.abc", "t.mid"]
    assert generate("-p", "song.abc", "--bars", "1", "-o", "t.mid", "--force") == 0
    assert (folder / "t.mid").read_bytes().startswith(b"MThd")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-o", "t.ogg"], 2, "the suffix chooses the format"),
        (["-o", "t.abc", "-o", "t.abc"], 2, "names a file twice"),
        (["-o", "nowhere/t.abc"], 1, "there is no folder nowhere"),
        (["--temperature", "-1"], 2, "temperature must be"),
        (["--top-p", "0"], 2, "top_p must be"),
        (["--seed", "-4"], 2, "seed must be"),
        (["--key", "D"], 1, "the prompt says K:G already"),
        (["--tune", "2"], 1, "holds 1 tune, there is no number 2"),
        (["--state", "x.st"], 1, "x.st: No such file"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_made(folder, engine, capsys, words, code, message):
    engine()
    prompt = [] if "--state" in words else ["-p", "song.abc"]
    assert generate(*prompt, *words) == code
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert names(folder) == ["song.abc"]


def test_the_seed_is_drawn_and_told(folder, engine, capsys):
    engine()
    seeds = set()
    for number in range(3):
        generate("-p", "song.abc", "--bars", "1", "-o", f"t{number}.abc", "-q")
        told = re.fullmatch(r"seed (\d+): wrote t\d.abc\n", capsys.readouterr().err)
        assert told
        seeds.add(told[1])
    assert len(seeds) == 3


@pytest.mark.parametrize("suffix", ["abc", "mid", "json", "musicxml", "svg", "wav"])
def test_any_output_can_be_had_again(folder, engine, suffix):
    engine()
    settings = ["--bars", "2", "--seed", "5", "--temperature", "1.1", "--top-k", "9"]
    assert generate("-p", "song.abc", *settings, "-o", f"t.{suffix}", "-o", "first.abc") == 0
    assert generate("--like", f"t.{suffix}", "-o", f"again.{suffix}", "-o", "second.abc") == 0
    assert (folder / "second.abc").read_text() == (folder / "first.abc").read_text()
    assert (folder / f"again.{suffix}").read_bytes() == (folder / f"t.{suffix}").read_bytes()


def test_like_can_be_changed_in_one_thing(folder, engine):
    engine()
    generate("-p", "song.abc", "--bars", "1", "--seed", "5", "--top-k", "9", "-o", "t.abc")
    assert generate("--like", "t.abc", "--seed", "6", "-o", "other.abc") == 0
    first, other = (read_making(folder / name).runs[0].options for name in ("t.abc", "other.abc"))
    assert (first.seed, other.seed) == (5, 6)
    assert other.top_k == 9


def test_like_with_other_weights_is_refused(folder, engine, capsys):
    engine()
    generate("-p", "song.abc", "--bars", "1", "-o", "t.abc")
    engine().hash = "f" * 64
    assert generate("--like", "t.abc", "-o", "again.abc") == 1
    assert "t.abc was made by abc-folk with the weights 000000000000" in capsys.readouterr().err


def test_a_state_goes_on_where_it_stopped(folder, tiny_model):
    settings = ["-p", "song.abc", "--model", str(tiny_model), "--seed", "5", "--temperature", "1.2"]
    assert generate(*settings, "--max-tokens", "60", "-o", "whole.abc", "--save-state", "whole.st") == 0
    assert generate(*settings, "--max-tokens", "23", "-o", "part.abc", "--save-state", "part.st") == 0
    assert generate("--state", "part.st", "--max-tokens", "37", "-o", "rest.abc", "--save-state", "rest.st") == 0
    assert without_remark((folder / "rest.abc").read_text()) == without_remark((folder / "whole.abc").read_text())
    assert generate("--like", "rest.abc", "-o", "again.abc") == 0
    assert (folder / "again.abc").read_text() == (folder / "rest.abc").read_text()


def test_a_state_of_another_model_is_refused(folder, tiny_model, tmp_path, capsys):
    generate("-p", "song.abc", "--model", str(tiny_model), "--max-tokens", "5", "-o", "-", "--save-state", "s.st")
    content = bytearray(tiny_model.read_bytes())
    content[-1] ^= 1
    (folder / "other.safetensors").write_bytes(content)
    capsys.readouterr()
    assert generate("--state", "s.st", "--model", "other.safetensors", "-o", "-") == 1
    assert "s.st was made by" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_made(folder, engine, capsys):
    engine(on_advance=lambda count: signal.raise_signal(signal.SIGINT) if count == 20 else None)
    assert generate("-p", "song.abc", "--bars", "4", "-n", "3", "-o", "t.abc", "-o", "t.mid", "--seed", "1") == 130
    takes = [f"t-{number}.{suffix}" for number in (1, 2, 3) for suffix in ("abc", "mid")]
    assert names(folder) == ["song.abc", *takes]
    for name in takes[::2]:
        assert without_remark((folder / name).read_text()) == TUNE.rstrip() + "GABc d4|edBA G4|]\n"
    assert "stopped by you" in capsys.readouterr().err


def test_a_second_ctrl_c_ends_it_at_once(folder, engine):
    engine(on_advance=lambda count: signal.raise_signal(signal.SIGINT) if count in (5, 6) else None)

    def twice(count):
        if count == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    engine(on_advance=twice)
    assert generate("-p", "song.abc", "--bars", "4", "-o", "t.abc") == 130
    assert names(folder) == ["song.abc"]


def test_sound_that_fails_loses_nothing_else(folder, engine, capsys, monkeypatch):
    engine()
    monkeypatch.setenv("RWKV_MUSIC_SOUNDFONT", "nowhere.sf2")
    assert generate("-p", "song.abc", "--bars", "1", "-o", "t.wav", "-o", "t.abc") == 1
    assert names(folder) == ["song.abc", "t.abc", "t.mid"]
    assert "t.wav could not be written: nowhere.sf2: there is no such soundfont file" in capsys.readouterr().err


def test_all_formats_of_one_take(folder, engine):
    engine()
    suffixes = ["abc", "mid", "wav", "svg", "musicxml", "json"]
    outputs = [word for suffix in suffixes for word in ("-o", f"t.{suffix}")]
    assert generate("-p", "song.abc", "--bars", "2", *outputs) == 0
    assert all((folder / f"t.{suffix}").stat().st_size > 100 for suffix in suffixes)
    json.loads((folder / "t.json").read_text())


def test_no_part_file_is_left_behind(folder, engine):
    engine()
    generate("-p", "song.abc", "--bars", "1", "-o", "t.abc", "--save-state", "nowhere/s.st")
    assert not [name for name in names(folder) if name.endswith(".part")]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-p", "score.musicxml"], 1, "score.musicxml: this MusicXML cannot be read"),
        (["-p", "long.abc"], 1, "the prompt has 48,"),
        (["-p", "song.abc", "-m", ""], 2, "--model names nothing"),
        (["-p", "song.abc", "--soundfont", "no.sf2", "-o", "a.wav"], 1, "no.sf2: there is no such soundfont"),
        (["-p", "song.abc", "--force", "-o", "folder.abc"], 1, "folder.abc is a folder; name a file"),
        (["-p", "song.abc", "--force", "--save-state", "nowhere/s.st"], 1, "there is no folder nowhere"),
    ],
)
def test_what_would_fail_late_is_told_at_once(folder, engine, capsys, words, code, message):
    engine()
    (folder / "score.musicxml").write_text("<score-partwise>|</score-partwise>")
    (folder / "long.abc").write_text("CDEF:|" * 8000)
    (folder / "folder.abc").mkdir()
    before = names(folder)
    assert generate(*words) == code
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert names(folder) == before


def test_control_characters_of_a_prompt_go_nowhere(folder, engine, capsys):
    engine()
    (folder / "song.abc").write_text(TUNE.replace("A Tune", "A\x1b]0;b\x07\x9b Tune"))
    assert generate("-p", "song.abc", "--bars", "1", "-o", "-") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("X:1\nT:A]0;b Tune\n")


def test_a_state_that_cannot_be_saved_keeps_the_seed_and_the_files(folder, tiny_model, capsys, monkeypatch):
    def full(snapshot, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("rwkv_music.commands.generate.save_snapshot", full)
    settings = ["-p", "song.abc", "--model", str(tiny_model), "--seed", "5", "--max-tokens", "5", "-q"]
    assert generate(*settings, "-o", "t.abc", "--save-state", "s.st") == 1
    assert capsys.readouterr().err.splitlines() == [
        "seed 5: wrote t.abc",
        "rwkv-music: s.st could not be written: No space left on device",
    ]


def test_a_full_standard_output_loses_no_file_and_no_seed(folder, engine, capsys, monkeypatch):
    def full(text):
        raise OSError(28, "No space left on device")

    engine()
    monkeypatch.setattr("rwkv_music.commands.outputs.show", full)
    assert generate("-p", "song.abc", "--bars", "1", "--seed", "3", "-n", "2", "-q") == 1
    assert capsys.readouterr().err.splitlines() == [
        "seed 3: wrote song-1.abc, song-1.mid",
        "rwkv-music: the tune could not be written to standard output: No space left on device",
        "seed 4: wrote song-2.abc, song-2.mid",
    ]


def test_the_number_type_is_taken_over_or_told(folder, tiny_model, capsys):
    settings = ["-p", "song.abc", "--model", str(tiny_model), "--max-tokens", "5", "-q", "--dtype", "bfloat16"]
    assert generate(*settings, "-o", "t.abc", "--save-state", "s.st") == 0
    assert generate("--like", "t.abc", "-o", "again.abc") == 0
    assert generate("--state", "s.st", "--max-tokens", "5", "-o", "on.abc") == 0
    assert {read_making(folder / name).dtype for name in ("again.abc", "on.abc")} == {"bfloat16"}
    capsys.readouterr()
    assert generate("--state", "s.st", "--max-tokens", "5", "--dtype", "float32", "-o", "other.abc") == 0
    assert "s.st was made in bfloat16, and goes on in float32\n" in capsys.readouterr().err


def test_a_tune_without_a_key_has_a_title_without_one(folder, engine, capsys):
    engine()
    assert generate("--key", "none", "--bars", "1", "-o", "-") == 0
    assert "\nT:Tune\n" in capsys.readouterr().out


def test_one_bar_is_one_bar(folder, engine, capsys):
    engine()
    assert generate("-p", "song.abc", "--bars", "1", "-o", "t.abc") == 0
    assert capsys.readouterr().err.startswith("1 bar, stopped")
