"""A style made of uploaded music: looked at first, stopped at will, ready to use; and nothing that was not asked for."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rwkv_music import library
from rwkv_music.cli import main
from rwkv_music.errors import UserError
from rwkv_music.library import STYLE, user_models_folder
from rwkv_music_app import tuning, tuning_wishes
from rwkv_music_app.page.form import kind_of, styles_on_offer
from rwkv_music_app.server import make_server
from rwkv_music_app.studio import Studio
from rwkv_music_app.tuning import Tunings
from rwkv_music_app.tuning_wishes import Wish, typed_name
from rwkv_music_app.wants import Begin, GoOn

# Seconds: this machine may be busy.
PATIENCE = 300.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's models, here and in every process that is begun here; and nobody before whom it has to wait."""
    monkeypatch.setattr(tuning, "NICENESS", 0)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(library, "user_models_folder", lambda: tmp_path / "home" / "rwkv-music" / "models")
    return tmp_path


@pytest.fixture
def tunings(home: Path) -> Iterator[Tunings]:
    tunings = Tunings(home / "tuning")
    yield tunings
    tunings.close()


@pytest.fixture
def tunes(waltzes) -> list[Path]:
    return waltzes("shopping.abc")


def wait_for(tunings: Tunings, *phases: str) -> dict:
    until = time.monotonic() + PATIENCE
    while (view := tunings.view("ann"))["phase"] not in phases:
        assert time.monotonic() < until and view["phase"] != "failed", view
        time.sleep(0.05)
    return view


def pretend(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Another program in the place of `finetune`."""
    monkeypatch.setattr(tuning, "command", lambda wish, look: [sys.executable, "-c", program])


def put_style(name: str) -> Path:
    """A style that was tuned here, as far as names go."""
    folder = user_models_folder() / name
    folder.mkdir(parents=True)
    (folder / STYLE).write_bytes(b"")
    return folder


def test_a_style_is_tuned_until_it_is_stopped_and_composed_with(studio, seen, tunings, tunes, home):
    tunings.look("ann", tunes, Wish("upstairs", steps=200))
    facts = wait_for(tunings, "ready")["preflight"]
    assert (facts["found"], facts["pieces"] + facts["held_out"], facts["steps_wished"]) == (9, 8, 200)
    assert [row["name"] for row in facts["rejects"]] == ["shopping.abc"] and facts["rejects"][0]["reason"]
    assert facts["model"] == "abc-folk" and facts["seconds"] > 0 and facts["bits"] > 0
    tunings.start("ann")
    # The learning rate warms up for ten steps.
    while tunings.view("ann").get("step", {"step": 0})["step"] < 12:
        wait_for(tunings, "learning")
        time.sleep(0.1)
    tunings.stop("bob")
    assert not tunings.view("ann")["stopped"], "it is not bob's"
    tunings.stop("ann")
    view = wait_for(tunings, "done")
    assert view["step"]["step"] < facts["steps"]
    assert view["result"]["after"] < view["result"]["before"] == pytest.approx(facts["bits"], rel=0.05)
    assert list((home / "tuning").iterdir()) == [], "no music is left"
    assert "upstairs" in studio.models.styles()["abc-folk"]

    takes = {}
    for style in ("upstairs", "upstairs:0.5+mazurka:0.5", ""):
        sitting = studio.begin("ann", Begin(key="G", rhythm="waltz", style=style))
        seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=4, seed=7)))
        assert sitting.model == "abc-folk" + f"+{style}" * bool(style)
        takes[style] = studio.export("ann", sitting.name, 1, "abc").decode()
    assert len({_music(take) for take in takes.values()}) == 3
    (home / "page.abc").write_text(takes["upstairs"])
    words = "generate --style upstairs --rhythm waltz --key G --bars 4 --seed 7 -q -o"
    assert main([*words.split(), str(home / "line.abc")]) == 0
    assert main(["generate", "--like", str(home / "page.abc"), "-q", "-o", str(home / "like.abc")]) == 0
    assert _music((home / "like.abc").read_text()) == _music(takes["upstairs"])
    assert _music((home / "line.abc").read_text()) == _music(takes["upstairs"])


def _music(abc: str) -> str:
    """What stands behind the header."""
    return abc[abc.index("\nK:") :].split("\n%")[0].rstrip()


def test_files_without_music_are_refused_with_the_reason(tunings, home):
    (home / "a.abc").write_text("milk, bread\n")
    (home / "b.abc").write_text("X:1\nK:C\nC|]\n")
    tunings.look("ann", [home / "a.abc", home / "b.abc"], Wish("nothing"))
    until = time.monotonic() + PATIENCE
    while (view := tunings.view("ann"))["phase"] == "looking" and time.monotonic() < until:
        time.sleep(0.05)
    assert view["phase"] == "failed" and "nothing to learn from" in view["error"] and "too short" in view["error"]
    with pytest.raises(UserError, match="look at your music first"):
        tunings.start("ann")
    assert not (user_models_folder() / "nothing").exists()


def test_one_at_a_time_and_nobody_sees_that_of_another(tunings, tunes, monkeypatch):
    pretend(monkeypatch, "import time; time.sleep(60)")
    tunings.look("ann", tunes, Wish("mine"))
    with pytest.raises(UserError, match="being tuned"):
        tunings.look("bob", tunes, Wish("theirs"))
    assert tunings.view("bob") == tuning.NOTHING
    with pytest.raises(UserError, match="look at your music first"):
        tunings.start("bob")
    tunings.stop("ann")
    assert not tunings.view("ann")["busy"]
    tunings.look("bob", tunes, Wish("theirs"))
    assert tunings.view("ann") == tuning.NOTHING
    tunings.stop("bob")


def test_what_takes_too_long_is_ended(tunings, tunes, monkeypatch):
    monkeypatch.setattr(tuning, "LOOKING", 0.2)
    pretend(monkeypatch, "import time; time.sleep(60)")
    tunings.look("ann", tunes, Wish("slow"))
    time.sleep(0.3)
    view = tunings.view("ann")
    assert view["phase"] == "failed" and "too long" in view["error"] and not view["busy"]


def test_music_lies_under_names_of_ours(tunings, home, monkeypatch):
    pretend(monkeypatch, "import os, sys; sys.exit(' '.join(os.listdir('music')))")
    hostile = home / "x; rm -rf $(HOME) `id` <b>.abc.sh"
    hostile.write_text("X:1\nK:C\nC|]\n")
    with pytest.raises(UserError, match="none of"):
        tunings.look("ann", [hostile], Wish("mine"))
    hostile = hostile.rename(home / "--force $(id).ABC")
    tunings.look("ann", [hostile], Wish("mine"))
    while tunings.view("ann")["busy"]:
        time.sleep(0.05)
    assert tunings.view("ann")["error"] == "0000.abc"


def test_too_many_and_too_large_files_are_refused(tunings, tunes, monkeypatch):
    with pytest.raises(UserError, match="drop some files"):
        tunings.look("ann", [], Wish("mine"))
    with pytest.raises(UserError, match="files at once"):
        tunings.look("ann", tunes * 100, Wish("mine"))
    monkeypatch.setattr(tuning_wishes, "MOST_BYTES", 100)
    with pytest.raises(UserError, match="MiB"):
        tunings.look("ann", tunes, Wish("mine"))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "-o", "a--b", "x" * 41, "näh", "a\0", "a+b", "a:1", "A"],
)
def test_a_name_that_could_be_anything_else_is_refused(name):
    with pytest.raises(UserError, match="letters a to z"):
        Wish(name)


def test_what_people_type_becomes_a_name():
    assert Wish(typed_name("  My slow_Waltzes ")).name == "my-slow-waltzes"


@pytest.mark.parametrize("name", ["abc-folk", "midi-score", "mazurka", "midi-piano"])
def test_what_is_called_so_already_is_not_overwritten(name):
    for replace in (False, True):
        with pytest.raises(UserError, match="choose another name"):
            Wish(name, replace=replace).check_free()


def test_a_style_of_ones_own_is_replaced_when_that_is_asked_for():
    put_style("mine")
    with pytest.raises(UserError, match="to be replaced"):
        Wish("mine").check_free()
    Wish("mine", replace=True).check_free()
    (user_models_folder() / "papers").mkdir()
    with pytest.raises(UserError, match="choose another name"):
        Wish("papers", replace=True).check_free()


@pytest.mark.parametrize("change", [{"minutes": 0}, {"minutes": 1e9}, {"steps": -1}, {"model": "../model"}])
def test_a_wish_out_of_bounds_is_refused(change):
    with pytest.raises(UserError):
        Wish("mine", **change)


def test_styles_are_those_that_are_offered_and_no_paths(studio: Studio, models, home):
    file = home / "mazurka.safetensors"
    file.write_bytes(b"")
    for style in (str(file), "../mazurka", "nothing", "mazurka+", "mazurka:nan", "mazurka:0.5+" + str(file), "x" * 300):
        with pytest.raises(UserError):
            studio.begin("ann", Begin(style=style))
    with pytest.raises(UserError, match="midi-score"):
        studio.begin("ann", Begin(model="midi-score", style="mazurka"))
    assert models.engine("abc-folk+mazurka").runner is models.engine("abc-folk").runner, "weights are shared"


def test_a_session_comes_back_from_disk_in_its_style(studio, seen, models):
    sitting = studio.begin("ann", Begin(style="mazurka:0.7+lead-sheet:0.3", key="D"))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=2, seed=1)))
    again = Studio(studio.store.folder, models)
    found = again.store.get("ann", sitting.name)
    assert found.model == "abc-folk+mazurka:0.7+lead-sheet:0.3"
    assert found.session.engine.hash == sitting.session.engine.hash != models.engine("abc-folk").hash


def test_the_page_names_styles_and_the_kind_that_they_speak_of():
    choice = styles_on_offer({"abc-folk": ["mazurka", "slow-waltzes"], "other": ["mazurka"]}, "abc-folk+slow-waltzes")
    labels = [label for label, _ in choice.choices]
    assert labels[1:] == ["Mazurka (abc-folk)", "Slow waltzes", "Mazurka (other)"]
    assert choice.value == "abc-folk+slow-waltzes"
    assert styles_on_offer({}, "<script>").value == ""
    assert kind_of("abc-folk+slow-waltzes") == "waltz" and kind_of("m+my-slip-jigs") == "slip jig"
    assert kind_of("m+blues") == kind_of("m+upstairs") == kind_of("waltz") == ""


def test_only_the_machine_itself_tunes(studio, tunings):
    def ids(client: TestClient) -> set[str]:
        return {part["props"].get("elem_id", "") for part in client.get("/config").json()["components"]}

    put_style("mine")
    shut = TestClient(make_server(studio, None), base_url="http://127.0.0.1")
    answer = shut.get("/tune")
    assert answer.status_code == 404 and "only" in answer.text
    assert shut.get("/studio/style/mine.safetensors").status_code == 404
    assert not {"rm-look", "rm-start-tuning"} & ids(shut)
    ours = TestClient(make_server(studio, None, tunings=tunings), base_url="http://127.0.0.1")
    assert ours.get("/tune").status_code == 200 and {"rm-look", "rm-start-tuning"} <= ids(ours)


def test_a_download_is_a_style_and_nothing_else(studio, tunings):
    folder = put_style("mine")
    (folder / STYLE).write_bytes(b"learnt")
    client = TestClient(make_server(studio, None, tunings=tunings), base_url="http://127.0.0.1")
    assert client.get("/studio/style/mine.safetensors").content == b"learnt"
    for name in ("theirs", "..%2fmine", "%2e%2e", "mine%00", "abc-folk"):
        assert client.get(f"/studio/style/{name}.safetensors").status_code == 404
