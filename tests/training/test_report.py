"""The report on a model: its page, card, picture and config say what was measured, and the installed model opens."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import zstandard

from rwkv_music.engine import Engine
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.corpus.tunes import document
from rwkv_music_training.judging.measure import body, in_all_keys
from rwkv_music_training.judging.predictors import EnginePredictor
from rwkv_music_training.judging.tune_bits import evaluate
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.pages.sources import SOURCES, credits_list, sources_table
from rwkv_music_training.report import main
from rwkv_music_training.telling.curve import CurveError, read_curve


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, tunes) -> Path:
    """A data folder of made-up tunes."""
    folder = tmp_path_factory.mktemp("data")
    for name, some in (("train", tunes[:20]), ("valid", tunes[20:])):
        rows = [
            {"id": tune.id, "source": tune.source, "tier": "AAAB"[number % 4], "abc": f"X:1\nT:x\n{tune.text}"}
            for number, tune in enumerate(some)
        ]
        packed = zstandard.compress("\n".join(map(json.dumps, rows)).encode())
        (folder / f"{name}.jsonl.zst").write_bytes(packed)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tunes, tiny, finished_run) -> Path:
    """The folder of a finished run of six steps."""
    documents = [document(tune.text, 200) for tune in tunes]
    lesson = Lesson("abc", 128, Listed(documents), Listed(documents[:3]), "made up")
    return finished_run(tmp_path_factory.mktemp("run"), tiny, lesson)


@pytest.fixture
def run(tmp_path, trained) -> Path:
    """A copy of it."""
    return shutil.copytree(trained, tmp_path / "run")


def report(shelf: Path, run: Path, page: Path, *more: str) -> int:
    given = ["--data", str(shelf), "--model", str(run / "best"), "--curve", str(run / "curve.csv")]
    return main([*given, "--page", str(page), "--tunes", "6", *more])


def test_one_command_writes_the_page_and_installs_the_model(shelf, run, tmp_path, monkeypatch):
    monkeypatch.setattr("rwkv_music_training.judging.measure.LONGEST", 60)
    page, installed = tmp_path / "docs" / "tiny.md", tmp_path / "models" / "tiny"
    assert report(shelf, run, page, "--install", str(installed)) == 0

    text = page.read_text(encoding="utf-8")
    config = json.loads((installed / "config.json").read_text(encoding="utf-8"))
    assert f"{config['valid_bits_per_character']['all']:.3f} bits per character on the 15 validation tunes" in text
    assert "| tunes with every bar right | 0.0% | 100.0% |" in text
    assert text.count("```abc\nX:") == 5
    assert "$" not in text
    assert all(source.credit in text for source in SOURCES)
    assert "![Bits per character over characters read](tiny-curve.svg)" in text

    assert sorted(path.name for path in installed.iterdir()) == [
        "README.md",
        "config.json",
        "curve.svg",
        "model.safetensors",
    ]
    assert "$" not in (installed / "README.md").read_text(encoding="utf-8")
    assert config["free_tunes"]["tunes"] == 6
    assert config["licence"] == "Apache-2.0" and config["credits"] == credits_list()
    assert (installed / "model.safetensors").read_bytes() == (run / "best" / "model.safetensors").read_bytes()
    ElementTree.parse(installed / "curve.svg")
    assert Engine.open(installed).hash == Engine.open(run / "best").hash


def test_an_installed_model_is_reported_on_again_word_for_word(shelf, run, tmp_path, monkeypatch):
    monkeypatch.setattr("rwkv_music_training.judging.measure.LONGEST", 60)
    page, installed = tmp_path / "tiny.md", tmp_path / "tiny"
    assert report(shelf, run, page, "--install", str(installed)) == 0
    before = {path: path.read_bytes() for path in (page, *installed.iterdir(), page.with_name("tiny-curve.svg"))}
    given = ["--data", str(shelf), "--model", str(installed), "--page", str(page), "--tunes", "6"]
    assert main([*given, "--install", str(installed)]) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_what_went_before_the_run_and_came_after_it_is_told_around_it(shelf, run, tmp_path, monkeypatch):
    monkeypatch.setattr("rwkv_music_training.judging.measure.LONGEST", 60)
    config = json.loads((run / "best" / "config.json").read_text())
    config["trained"] |= {"before": ["It began small."], "after": ["Then it was mixed."]}
    (run / "best" / "config.json").write_text(json.dumps(config))
    page = tmp_path / "tiny.md"
    assert report(shelf, run, page) == 0
    text = page.read_text(encoding="utf-8")
    assert text.index("It began small.") < text.index("steps) in") < text.index("Then it was mixed.")


def test_what_a_report_lacks_is_one_line(shelf, run, tmp_path, capsys):
    page = tmp_path / "tiny.md"
    assert report(tmp_path, run, page) == 1
    assert report(shelf, tmp_path, page) == 1
    (run / "curve.csv").write_text("step,epoch\n1,x\n")
    assert report(shelf, run, page) == 1
    config = json.loads((run / "best" / "config.json").read_text())
    del config["trained"]["machine"]
    (run / "best" / "config.json").write_text(json.dumps(config))
    assert report(shelf, run, page) == 1
    del config["training"]
    (run / "best" / "config.json").write_text(json.dumps(config))
    assert report(shelf, run, page) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines and len(lines) == 5
    assert not page.exists()


@pytest.mark.parametrize("text", ["", "step\n", "step,epoch\n1,2\n", "\x00\x01"])
def test_a_curve_without_its_columns_is_refused(tmp_path, text):
    (tmp_path / "curve.csv").write_text(text)
    with pytest.raises(CurveError, match="curve.csv"):
        read_curve(tmp_path / "curve.csv")


def test_the_music_begins_after_the_key():
    assert body("M:6/8\nK:D\nABc|\n") == "ABc|\n"
    assert body("ABc|\n") == "ABc|\n"


def test_a_tune_is_known_in_its_own_key_and_others(tunes):
    keys = in_all_keys(tunes[0].text)
    assert tunes[0].text in keys and len(set(keys)) == len(keys) > 3


def test_every_source_is_credited():
    assert len({source.key for source in SOURCES}) == 6
    assert sources_table().count("\n") == 7


def test_bits_of_all_sources_are_their_sum(tunes, run):
    bits = evaluate(EnginePredictor(Engine.open(run / "best")), tunes[:6])
    assert bits["all"].text == pytest.approx(bits["made up"].text + bits["other"].text)
