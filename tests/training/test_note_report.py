"""The report on a model of MIDI: its page, card and config say what was measured, and the installed model opens."""

import json
from pathlib import Path

import pytest

from rwkv_music.engine import Engine
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_training import report as module
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.judging.order import in_order
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.note_corpus import note_corpus
from rwkv_music_training.pages.sources import MIDI_SOURCES


@pytest.fixture(scope="module")
def run(midi_folder, tmp_path_factory, tiny, note_recipe, finished_run) -> Path:
    """The folder of a finished run of six steps, with its cache."""
    folder = tmp_path_factory.mktemp("run")
    train, valid = (note_corpus(midi_folder, split, folder / "cache", note_recipe) for split in ("train", "valid"))
    first, second = (Listed([corpus.document(n) for n in range(len(corpus))]) for corpus in (train, valid))
    config = tiny.but(name="tiny notes", data={"window": 128, "tokens_per_step": 500})
    finished_run(folder / "out", config, Lesson("notes", 896, first, second, "made up"))
    return folder


def test_one_command_reports_on_a_model_of_midi_and_installs_it(midi_folder, run, tmp_path):
    page, installed = tmp_path / "docs" / "notes.md", tmp_path / "models" / "notes"
    given = ["--data", str(midi_folder), "--cache", str(run / "cache"), "--model", str(run / "out" / "best")]
    given += ["--curve", str(run / "out" / "curve.csv"), "--page", str(page), "--tunes", "4"]
    assert module.main([*given, "--install", str(installed)]) == 0

    text, card = page.read_text(encoding="utf-8"), (installed / "README.md").read_text(encoding="utf-8")
    config = json.loads((installed / "config.json").read_text(encoding="utf-8"))
    assert "$" not in text and "$" not in card
    assert f"{config['valid_bits_per_note']['all']:.2f} bits a note" in text
    assert "| 4 pieces of tiny notes | real validation pieces |" in text
    assert set(config["valid_bits_per_second"]) == {"all", "songs", "tunes"}
    assert config["tokenizer"] == "notes" and config["dimensions"]["vocabulary"] == 896
    assert config["licence"] == "Apache-2.0" and config["own_pieces"]["pieces"] == 4
    assert config["sampling"] == {"temperature": 1.0, "top_p": 0.98}
    assert Engine.open(installed).hash == Engine.open(run / "out" / "best").hash

    given[given.index("--model") + 1] = str(installed)
    before = {path: path.read_bytes() for path in (page, *installed.iterdir())}
    assert module.main([*given, "--install", str(installed)]) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_model_of_another_tokenizer_is_one_line(run, midi_folder, tmp_path, capsys):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes((run / "out" / "best" / "model.safetensors").read_bytes())
    config = json.loads((run / "out" / "best" / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"tokenizer": "words"}))
    given = ["--data", str(midi_folder), "--model", str(model), "--curve", str(run / "out" / "curve.csv")]
    assert module.main([*given, "--page", str(tmp_path / "page.md")]) == 1
    assert capsys.readouterr().err == "error: no report on models of the tokenizer 'words': it must be abc or notes\n"


@pytest.mark.parametrize(
    "music, canonical",
    [
        ("bar time:0 part:0 pitch:60 length:4", True),
        ("bar time:0 part:0 pitch:60 length:4 <eos>", True),
        ("bar time:0 pitch:60 length:4", False),
        ("bar time:0 part:0 velocity:8 pitch:60 length:4", False),
        ("bar time:5 part:0 pitch:60 length:4 time:3 pitch:61 length:4", False),
    ],
)
def test_only_what_the_encoder_would_write_is_in_order(music, canonical):
    ids = NoteTokenizer().from_text(f"<bos> <grid> kind:piano meter:4/4 key:C tempo:120 part:0 program:0 {music}")
    assert in_order(ids) == canonical


def test_every_midi_source_is_credited():
    assert len({source.key for source in MIDI_SOURCES}) == 4
