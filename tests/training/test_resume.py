"""A run that was interrupted ends exactly where an uninterrupted one does; damaged checkpoints are refused."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.batches import Batch, TuneBatches
from rwkv_music_training.checkpoints import (
    KEPT,
    Checkpoint,
    Progress,
    ResumeError,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.corpus.tunes import Tune
from rwkv_music_training.curve import read_curve
from rwkv_music_training.lessons import AbcLesson
from rwkv_music_training.train import main, newest
from rwkv_music_training.trainer import Trainer


class Interrupted(TuneBatches):
    """Batches that send the process Ctrl-C once, while a step is under way."""

    at_step = -1

    def at(self, step: int) -> list[Batch]:
        if step == self.at_step:
            os.kill(os.getpid(), signal.SIGINT)
        return super().at(step)


def trainer(folder: Path, tunes: Sequence[Tune], config: TrainingConfig, interrupted_at: int = -1) -> Trainer:
    batches = Interrupted(tunes, config, lambda text, semitones: text, lambda text: [0])
    batches.at_step = interrupted_at
    return Trainer(config, AbcLesson(batches, tunes[:3]), folder, choose_kernels("cpu"))


@pytest.fixture
def finished(tmp_path, tunes, tiny) -> Trainer:
    run = trainer(tmp_path / "whole", tunes, tiny)
    run.run()
    return run


@pytest.mark.parametrize("interrupted_at", [1, 3])
def test_an_interrupted_run_ends_where_a_whole_one_does(tmp_path, tunes, tiny, finished, interrupted_at):
    folder = tmp_path / "cut"
    first = trainer(folder, tunes, tiny, interrupted_at)
    first.run()
    assert first.progress.step == interrupted_at + 1
    second = trainer(folder, tunes, tiny)
    second.resume(newest(folder))
    second.run()

    whole, resumed = load_checkpoint(newest(finished.folder)), load_checkpoint(newest(folder))
    assert replace(resumed.progress, seconds=0) == replace(whole.progress, seconds=0)
    assert whole.tensors.keys() == resumed.tensors.keys() == {"weights", "average", "moment", "square", "optimizer"}
    for kind, group in whole.tensors.items():
        assert all(torch.equal(tensor, resumed.tensors[kind][name]) for name, tensor in group.items())
    assert load_weights_bytes(folder) == load_weights_bytes(finished.folder)
    columns = ("step", "epoch", "tokens", "rate", "valid", "valid body")
    rows = [[row[name] for name in columns] for row in read_curve(folder / "curve.csv")]
    assert rows == [[row[name] for name in columns] for row in read_curve(finished.folder / "curve.csv")]


def load_weights_bytes(folder: Path) -> bytes:
    return (folder / "best" / "model.safetensors").read_bytes()


def test_going_back_forgets_the_readings_after(tmp_path, tunes, tiny):
    run = trainer(tmp_path, tunes, tiny, interrupted_at=3)
    run.run()
    early = newest(tmp_path)
    again = trainer(tmp_path, tunes, tiny)
    again.resume(early)
    again.run()
    assert [row["step"] for row in read_curve(tmp_path / "curve.csv")] == ["3", "6"]
    again.resume(early)
    assert [row["step"] for row in read_curve(tmp_path / "curve.csv")] == ["3"]


def test_only_the_newest_checkpoints_are_kept(tmp_path, tiny):
    for step in range(1, 6):
        save_checkpoint(tmp_path, Checkpoint(tiny, Progress(step=step), {"weights": {"x": torch.ones(2)}}))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-0000004", "step-0000005"]
    assert KEPT == 2


def test_a_checkpoint_comes_back(tmp_path, tiny):
    told = Checkpoint(tiny, Progress(step=7, tokens=9, seconds=1.5), {"weights": {"a/b": torch.arange(3)}})
    back = load_checkpoint(save_checkpoint(tmp_path, told))
    assert (back.config, back.progress) == (told.config, told.progress)
    assert torch.equal(back.tensors["weights"]["a/b"], torch.arange(3))


def test_a_half_written_checkpoint_is_not_listed(tmp_path, tiny):
    whole = save_checkpoint(tmp_path, Checkpoint(tiny, Progress(step=1), {"weights": {"x": torch.ones(2)}}))
    (tmp_path / ".step-0000002.part").mkdir()
    (tmp_path / "step-0000003").mkdir()
    assert list_checkpoints(tmp_path) == [whole]


def cut_tensors(path: Path) -> None:
    file = path / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def lose_tensors(path: Path) -> None:
    (path / "tensors.safetensors").unlink()


def lose_a_moment(path: Path) -> None:
    flat = load_file(path / "tensors.safetensors")
    del flat["moment/ln_out.bias"]
    save_file(flat, path / "tensors.safetensors")


def another_shape(path: Path) -> None:
    flat = load_file(path / "tensors.safetensors")
    flat["weights/ln_out.bias"] = torch.ones(5)
    save_file(flat, path / "tensors.safetensors")


def progress_is_a_list(path: Path) -> None:
    told = json.loads((path / "progress.json").read_text())
    (path / "progress.json").write_text(json.dumps(told | {"progress": [1]}))


def config_of_another_time(path: Path) -> None:
    told = json.loads((path / "progress.json").read_text())
    (path / "progress.json").write_text(json.dumps(told | {"config": {"colour": "red"}}))


def cut_progress(path: Path) -> None:
    (path / "progress.json").write_text("{")


@pytest.mark.parametrize(
    "damage",
    [cut_tensors, lose_tensors, lose_a_moment, another_shape, progress_is_a_list, config_of_another_time, cut_progress],
)
def test_a_damaged_checkpoint_is_refused(finished, tunes, tiny, damage):
    path = newest(finished.folder)
    damage(path)
    with pytest.raises(ResumeError, match="no whole checkpoint"):
        trainer(finished.folder, tunes, tiny).resume(path)


def test_nothing_to_resume_is_one_line(tmp_path, capsys):
    assert main(["abc-folk", "--data", str(tmp_path), "--out", str(tmp_path), "--resume"]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: no checkpoint to resume from\n"
