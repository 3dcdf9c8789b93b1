"""The switchboard: light help, exit codes, and one line for every mistake."""

import os
import subprocess
import sys

import pytest

from rwkv_music import __version__, cli, switchboard
from rwkv_music.cli import main
from rwkv_music.commands import options
from rwkv_music.engine import DTYPES

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


def command(words: list[str], **how) -> subprocess.CompletedProcess[str]:
    """A command line of its own, with its errors as text."""
    return subprocess.run([sys.executable, "-m", "rwkv_music", *words], stderr=subprocess.PIPE, text=True, **how)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_standard_output_is_told_in_one_line():
    with open("/dev/full", "w") as full:
        done = command(["models", "list"], stdout=full)
    assert (done.returncode, done.stderr) == (1, "rwkv-music: standard output: No space left on device\n")


@pytest.mark.skipif(os.name != "posix", reason="streams are closed by a shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_like_an_empty_one(closed):
    done = subprocess.run(
        f'"{sys.executable}" -m rwkv_music check - {closed}', shell=True, capture_output=True, text=True, input=""
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_wrong_usage_of_generate_is_told_without_torch():
    code = (
        "import sys; from rwkv_music.cli import main; main(['generate', '--bars', 'x']); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_dtypes_offered_are_those_of_the_engine():
    assert tuple(DTYPES) == options.DTYPES


@pytest.mark.parametrize("words", [["check", "a\x1b]0;b\x07"], ["generate", "--nonsense\x1b[2J"], ["\x1bsing"]])
def test_complaints_hold_nothing_that_a_terminal_obeys(words, capsys):
    assert main(words) in (1, 2)
    assert not set(capsys.readouterr().err) & {"\x1b", "\x07"}
