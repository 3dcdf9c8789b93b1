"""Out of a checkpoint comes a model that everything opens."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.cli import main
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.found import read_manifest, steps_in
from rwkv_music_training.scale.keeping import Keeping
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup
from rwkv_music_training.scale.taking import learned

TINY = TrainingConfig.model_validate(
    {
        "shape": {"layers": 2, "width": 32, "head_size": 32},
        "data": {"tokens_per_step": 64, "pieces": 1, "window": 64},
        "optimiser": {"average": 0.9},
        "schedule": {"steps": 3},
        "machine": {"precision": "float32", "threads": 1, "device": "cpu"},
        "habits": {"read_every": 2, "checkpoint_seconds": 1e-9, "keep": 3},
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run of three steps on made-up characters, that has been."""
    folder = tmp_path_factory.mktemp("run")
    draw = np.random.default_rng(0)
    documents = Listed([draw.integers(2, 120, size=40) for _ in range(8)], ["a"] * 8)
    lesson = Lesson("abc", 128, documents, documents)
    parallel = setup(Layout(accelerator="cpu"))
    keeping = Keeping(Checkpoints(folder / "checkpoints", parallel, keep=3), TINY, lesson)
    made = Run(TINY, lesson, folder, parallel, keeper=keeping)
    made.run()
    return made


def told(capsys, *words: object) -> tuple[int, str, str]:
    """Exit code, output and talk of the command line."""
    code = main(["checkpoints", *(str(word) for word in words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_checkpoints_are_listed(run, capsys):
    code, out, _ = told(capsys, run.folder, "--check")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3
    assert lines[-1].startswith("step         3") and "best" in out
    assert all(line.endswith("whole") for line in lines)


def test_a_model_folder_plays(run, tmp_path, capsys):
    assert told(capsys, run.folder, "--take", "newest", "-o", tmp_path / "taken")[0] == 0
    tune = tmp_path / "tune.abc"
    words = ["generate", "-m", str(tmp_path / "taken"), "--bars", "1", "--seed", "1", "-o", str(tune)]
    assert main(words) == 0
    assert tune.read_text().startswith("X:")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_official_forms_hold_every_bit(run, tmp_path, capsys, suffix):
    assert told(capsys, run.folder, "-o", tmp_path / f"model{suffix}")[0] == 0
    weights = load_weights(tmp_path / f"model{suffix}")
    average = run.stepper.average.tensors
    assert weights.keys() == average.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in average.items())


def test_the_weights_themselves_can_be_had(run, tmp_path, capsys):
    assert told(capsys, run.folder, "--raw", "-o", tmp_path / "raw.pth")[0] == 0
    raw = load_weights(tmp_path / "raw.pth")
    assert all(torch.equal(raw[name], each) for name, each in run.stepper.learner.named_parameters())


def test_a_step_can_be_named_and_must_be_there(run, tmp_path, capsys):
    assert told(capsys, run.folder, "--take", 2, "-o", tmp_path / "two.pth")[0] == 0
    code, _, err = told(capsys, run.folder, "--take", 9, "-o", tmp_path / "nine.pth")
    assert code == 1 and "no checkpoint '9'; choose newest, best or one of the steps 1, 2, 3" in err


def test_nothing_is_overwritten_unasked(run, tmp_path, capsys):
    place = tmp_path / "model.pth"
    place.write_text("mine")
    code, _, err = told(capsys, run.folder, "-o", place)
    assert code == 1 and place.read_text() == "mine" and "--force" in err
    assert told(capsys, run.folder, "-o", place, "--force")[0] == 0


def test_a_damaged_checkpoint_is_told_and_gives_no_model(run, tmp_path, capsys):
    last = steps_in(run.folder / "checkpoints")[-1]
    shard: Path = sorted(last.glob("*.safetensors"))[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        code, out, _ = told(capsys, run.folder, "--check")
        assert code == 1 and "holds other bytes than were written" in out.splitlines()[-1]
        code, _, err = told(capsys, run.folder, "-o", tmp_path / "bad")
        assert code == 1 and err.count("\n") == 1 and str(shard) in err
    finally:
        shard.write_bytes(whole)


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        ("load", [2], "no tensor"),
        ("float32", [2, -2], "no tensor"),
        ("float32", [10**9, 10**9], "no room in the files"),
        ("float32", [0, 2**40, 2**40], "no room in the files"),
        ("float32", [float("inf")], "not the manifest"),
    ],
)
def test_a_checkpoint_that_tells_lies_is_refused(run, tmp_path, capsys, kind, shape, reason):
    theirs = tmp_path / "checkpoints" / "step-0000003"
    shutil.copytree(steps_in(run.folder / "checkpoints")[-1], theirs)
    manifest = json.loads((theirs / "manifest.json").read_text())
    name = next(name for name in manifest["tensors"] if name.startswith("weights/"))
    manifest["tensors"][name] = [kind, shape]
    (theirs / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = told(capsys, tmp_path, "--take", "3", "-o", tmp_path / "taken")
    assert code == 1 and err.count("\n") == 1 and reason in err


def test_a_folder_without_checkpoints_is_told(tmp_path, capsys):
    code, _, err = told(capsys, tmp_path)
    assert (code, err) == (1, f"rwkv-music: {tmp_path}: no checkpoints here\n")


def test_what_learned_is_read_whole(run):
    newest = read_manifest(steps_in(run.folder / "checkpoints")[-1])
    assert all(torch.equal(tensor, run.stepper.average.tensors[name]) for name, tensor in learned(newest).items())
