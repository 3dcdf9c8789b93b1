"""The switchboard: light help, exit codes, and one line for every mistake."""

import os
import subprocess
import sys

import pytest

from rwkv_music import __version__, cli, switchboard
from rwkv_music.cli import main

HEAVY = ("torch", "gradio", "music21", "numba", "numpy", "symusic")


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb}" in shown for verb in switchboard.VERBS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from rwkv_music.cli import main; main(['--help']); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_help_answers_within_half_a_second():
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "rwkv_music", "--help"], check=True, capture_output=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.5


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rwkv-music {__version__}\n"


@pytest.mark.parametrize("verb", list(switchboard.VERBS))
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"rwkv-music {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["sing"],
        ["generate", "--bars", "many"],
        ["generate", "--bars", "0"],
        ["generate", "--tune", "2"],
        ["check"],
        ["models"],
    ],
)
def test_wrong_usage_exits_with_two(words, capsys):
    assert main(words) == 2
    assert "rwkv-music" in capsys.readouterr().err


def test_no_verb_shows_the_help(capsys):
    assert main([]) == 0
    assert "verbs:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["check", "nowhere.abc"],
        ["convert", "nowhere.abc", "out.mid"],
        ["generate", "--prompt", "nowhere.abc"],
        ["generate", "--prompt", "nowhere.mid"],
        ["generate", "--prompt", "nonsense"],
        ["generate", "--state", "nowhere.rwkvstate"],
        ["generate", "--like", "nowhere.abc"],
        ["generate", "--key", "D", "--model", "nobody"],
        ["models", "show", "nobody"],
    ],
)
def test_a_mistake_is_one_line_and_exits_with_one(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("rwkv-music: ")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_exits_with_130(monkeypatch, capsys):
    def interrupted(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert main(["generate"]) == 130
    assert capsys.readouterr().err == "rwkv-music: interrupted\n"


def test_a_reader_that_goes_away_is_no_reason_for_a_traceback():
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; time.sleep(0.3); from rwkv_music.cli import main; raise SystemExit(main(['--help']))",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() in (0, 1)
