"""The public components: what they can be given, and the example in their page."""

import re
from pathlib import Path

import pytest

from rwkv_music.works import Tune
from rwkv_music_app.components import MidiPlayer, PianoRoll, SheetMusic
from rwkv_music_app.components.music_value import update_of

ABC = "X:1\nT:</script>{{value}}${1}\nM:6/8\nL:1/8\nK:D\n|:A|DED F2A|d2f ecA:|"
PAGE = Path(__file__).parents[2] / "docs/components.md"


@pytest.mark.parametrize("given", [str, Tune, lambda abc: Tune(abc).midi()], ids=["abc", "tune", "midi"])
def test_music_of_every_kind_is_shown_whole(given):
    update = update_of(given(ABC))
    assert update is not None
    take = update["takes"]["0"]
    assert len(take["notes"]["new"]) == 22 and take["base"] == 0
    assert all(length > 0 for _, length, *_ in take["notes"]["new"])
    ends = [end for _, end, *_ in take["bars"]["new"]]
    assert ends == sorted(ends) and max(ends) >= max(start for start, *_ in take["notes"]["new"])


def test_nothing_and_updates_pass_as_they_are():
    assert update_of(None) is None
    assert update_of({"session": "x"}) == {"session": "x"}


@pytest.mark.parametrize("component", [PianoRoll, SheetMusic, MidiPlayer])
def test_no_music_comes_into_a_template(component):
    made = component(ABC, piece="mine")
    config = made.get_config()
    templates = config["html_template"] + config["css_template"] + config["js_on_load"] + config["head"]
    assert "{{value}}" not in templates and "${" not in templates
    assert config["props"]["piece"] == "mine"


def test_the_example_in_their_page_can_be_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    served = []
    monkeypatch.setattr("uvicorn.run", served.append)
    [example] = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    exec(compile(example, "docs/components.md", "exec"), {})
    assert len(served) == 1
