"""The pages are true: every command in them can be typed, every example runs, the page of the command line is current."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from rwkv_music.library import embedded_models
from rwkv_music.switchboard import VERBS, parser_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/python.md").read_text(), re.MULTILINE | re.DOTALL)
# Models that only some examples need, and that a checkout may lack.
OTHERS = ["midi-score"]


def commands() -> list[str]:
    """Every line of a block, in any page, that is a command of ours."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = "".join(blocks).replace("\\\n", "").splitlines()
        found += [command.strip() for line in lines for command in line.split("&&") if "rwkv-music" in command]
    return sorted({command for command in found if command.startswith("rwkv-music ")})


def test_pages_hold_commands():
    assert len(commands()) > 20


@pytest.mark.parametrize("command", commands())
def test_every_command_in_the_pages_can_be_typed(command):
    words = shlex.split(command, comments=True)[1:]
    if words[0] not in ("--help", "--version"):
        parser_of(words[0]).parse_args(words[1:])


def test_every_verb_stands_in_the_musicians_page():
    text = (ROOT / "docs/musicians.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"rwkv-music {verb}" not in text] == []


def test_the_page_of_the_command_line_is_what_the_parsers_say():
    made = runpy.run_path(str(ROOT / "docs/write_cli.py"))["page"]()
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == made, "run: python docs/write_cli.py"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for example in EXAMPLES:
        if all(model not in example or model in embedded_models() for model in OTHERS):
            exec(compile(example, "docs/python.md", "exec"), known)
    assert "K:D" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} >= {"jig.abc", "jig.mid", "jig.wav", "evening.rwkvsession"}
