"""A folder of tunes goes in, and a model or a style comes out that `generate` takes; nothing is overwritten."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rwkv_music import library
from rwkv_music.cli import main
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.model.initial import initial_weights, standard_spec
from rwkv_music_training.finetune import choices, comparing
from rwkv_music_training.finetune.result import place_of
from rwkv_music_training.finetune.tuning import Clock, Deadline
from rwkv_music_training.finetune.wishes import FinetuneError
from rwkv_music_training.learning.watching import Step


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of six tunes, a tiny model that knows nothing, and nobody's models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(choices, "LEAST_STEP", 128)
    monkeypatch.setattr(comparing, "SAMPLES", 1)
    monkeypatch.setattr(comparing, "LONGEST_SAMPLE", 30)
    monkeypatch.setattr(library, "user_models_folder", lambda: tmp_path / "models")
    monkeypatch.setattr("rwkv_music_training.finetune.result.user_models_folder", lambda: tmp_path / "models")
    monkeypatch.setattr("rwkv_music.names.user_models_folder", lambda: tmp_path / "models")
    tunes = tmp_path / "tunes"
    tunes.mkdir()
    for number in range(6):
        bars = "|".join("".join("CDEFGABc"[(number * step + at) % 8] for at in range(8)) for step in (1, 3, 5, 2))
        (tunes / f"{number}.abc").write_text(f"X:1\nT:{number}\nM:4/4\nL:1/8\nK:C\n{bars}|]\n")
    (tunes / "odd.abc").write_text("X:1\nK:C\nC|]\n")
    base = tmp_path / "base"
    base.mkdir()
    spec = standard_spec("7", 1, 64, 128, 64, None)
    draw = torch.Generator().manual_seed(0)
    # At the official first weights nothing that a layer remembers is heard.
    weights = {
        name: each + 0.1 * torch.randn(each.shape, generator=draw) for name, each in initial_weights(spec, draw).items()
    }
    save_file(weights, base / "model.safetensors")
    (base / "config.json").write_text(json.dumps({"name": "base", "tokenizer": "abc", "licence": "CC0"}))
    return tmp_path


def finetune(*words: str) -> int:
    usual = ["--base", "base", "--steps", "8", "--rate", "0.01", "--device", "cpu", "--threads", "1"]
    return main(["finetune", "tunes", *usual, *words])


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_model_comes_out_that_has_learnt(here: Path, method: str, capsys: pytest.CaptureFixture[str]):
    assert finetune("--method", method, "-o", "mine") == 0
    told = capsys.readouterr().out
    assert "5 pieces" not in told and "4 pieces" in told and "2 pieces held out" in told
    assert "too short 1" in " ".join(told.split()), "the odd file"
    assert "-m mine" in told
    folder = here / "models" / "mine"
    about = json.loads((folder / "config.json").read_text())
    assert about["held_out_bits_per_token"]["after"] < about["held_out_bits_per_token"]["before"]
    assert about["base"] == {"name": "base", "licence": "CC0"}
    assert "CC0" in (folder / "README.md").read_text()
    assert {"before", "after"} == {path.name for path in (folder / "samples").iterdir()}
    assert (folder / "training" / "report.html").is_file()
    assert not list((here / "models").glob(".*")), "nothing is left beside it"
    assert main(["generate", "-m", "mine", "--max-tokens", "20", "-o", "made.abc"]) == 0


def test_a_style_comes_out_that_the_model_begins_with(here: Path, capsys: pytest.CaptureFixture[str]):
    assert finetune("--method", "state", "-o", "manner") == 0
    assert "--style manner" in capsys.readouterr().out
    assert Engine.open("base").hash != Engine.open("base+manner").hash
    assert main(["generate", "-m", "base", "--style", "manner", "--max-tokens", "20", "-o", "made.abc"]) == 0


def test_a_program_is_told_everything_in_lines(here: Path, capsys: pytest.CaptureFixture[str]):
    assert finetune("--method", "state", "-o", "manner", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [line["event"] for line in told]
    assert list(dict.fromkeys(events)) == ["preflight", "begin", "step", "reading", "end", "result"]
    facts, result = told[0], told[-1]
    assert (facts["found"], facts["pieces"], facts["held_out"], facts["steps"]) == (7, 4, 2, 8)
    assert facts["left_out"] == {"too short": 1} and [row["name"] for row in facts["rejects"]] == ["tunes/odd.abc"]
    assert facts["unit"] == "character" and facts["seconds"] > 0
    assert [line["step"] for line in told if line["event"] == "reading"] == list(range(1, 9))
    assert result["after"] < result["before"] and result["option"] == "--style manner"


def test_nothing_is_overwritten(here: Path, capsys: pytest.CaptureFixture[str]):
    kept = here / "models" / "kept"
    kept.mkdir(parents=True)
    (kept / "README.md").write_text("dear to me")
    assert finetune("-o", "kept") == 1
    assert "--force" in capsys.readouterr().err
    assert (kept / "README.md").read_text() == "dear to me"


def test_only_what_was_made_here_is_replaced(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "dear").mkdir()
    (here / "dear" / "README.md").touch()
    for out, reason in (("./tunes", "which is read"), ("./dear", "is not a model or style made by finetune")):
        assert finetune("-o", out, "--force") == 1
        assert reason in capsys.readouterr().err
    assert (here / "tunes" / "0.abc").exists() and (here / "dear" / "README.md").exists()
    for _ in range(2):
        assert finetune("--method", "state", "--no-samples", "-o", "./made", "--force") == 0


def test_a_look_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(here.rglob("*"))
    assert finetune("--look", "-o", "mine") == 0
    assert "steps" in capsys.readouterr().out
    assert [path for path in sorted(here.rglob("*")) if path.name != "models"] == before


def test_a_model_that_gets_no_better_is_not_kept(here: Path, capsys: pytest.CaptureFixture[str]):
    assert finetune("--rate", "1e-30", "-o", "mine") == 1
    assert "nothing to keep" in capsys.readouterr().err
    assert not list((here / "models").iterdir())


def test_too_little_time_is_told(here: Path, capsys: pytest.CaptureFixture[str]):
    assert finetune("--minutes", "0.01", "-o", "mine") == 1
    assert "minutes are too short" in capsys.readouterr().err


def test_a_folder_without_music_is_told_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "empty").mkdir()
    assert main(["finetune", "empty", "--base", "base", "-o", "mine"]) == 1
    assert capsys.readouterr().err.strip().count("\n") <= 3


def test_the_deadline_stops_a_run():
    asked: list[int] = []
    deadline = Deadline(at=0.0)
    deadline.stop = lambda: asked.append(1)
    step = Step(1, 0.1, 0.1, 1.0, 1e-3, 1.0, False, 0, 10, 10, 0.1, 0.1)
    deadline.step(step)
    assert asked
    assert Clock.of(0).left == float("inf")


def test_a_name_lies_among_the_models_and_a_path_where_it_says(here: Path):
    assert place_of("waltzes", False).folder == here / "models" / "waltzes"
    assert place_of("some/where", False).folder == here / "some" / "where"
    with pytest.raises(FinetuneError, match="no name"):
        place_of("/", False)


@pytest.mark.parametrize("name", ["abc-folk", "mazurka", "midi-piano", "a+b", "a:1", "Waltzes"])
def test_a_name_that_stands_for_something_else_is_refused(here: Path, name: str):
    with pytest.raises(UserError):
        place_of(name, False)


@pytest.mark.parametrize(
    ("folder", "name"), [("Grandma's Wälzer_2+3", "grandmas-walzer-2-3"), ("x" * 50, "x" * 40), ("a.tar.gz", "a-tar")]
)
def test_what_a_folder_is_called_becomes_a_plain_name(here: Path, folder: str, name: str):
    assert place_of(None, False, here / folder).name == name


def test_a_folder_whose_name_gives_none_needs_one(here: Path):
    with pytest.raises(FinetuneError, match="-o NAME"):
        place_of(None, False, here / "音楽")
