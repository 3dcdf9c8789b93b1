"""A run takes itself up again, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.found import CheckpointError
from rwkv_music_training.scale.keeping import Keeping, flat
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup

TINY = TrainingConfig.model_validate(
    {
        "shape": {"layers": 1, "width": 32, "head_size": 32},
        "data": {"tokens_per_step": 32, "pieces": 1, "window": 32, "carry": True},
        "optimiser": {"average": 0.9, "name": "muon"},
        "schedule": {"steps": 3},
        "machine": {"precision": "float32", "threads": 1, "device": "cpu"},
        "habits": {"read_every": 2, "checkpoint_seconds": 1e-9},
    }
)


def lesson(documents: int = 6) -> Lesson:
    draw = np.random.default_rng(0)
    read = Listed([draw.integers(2, 12, size=50) for _ in range(documents)], ["a"] * documents)
    return Lesson("abc", 12, read, read)


def begun(folder: Path, config: TrainingConfig = TINY, documents: int = 6) -> tuple[Run, Keeping]:
    parallel = setup(Layout(accelerator="cpu"))
    keeping = Keeping(Checkpoints(folder / "checkpoints", parallel), config, lesson(documents))
    return Run(config, lesson(documents), folder, parallel, keeper=keeping), keeping


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where a run of three steps has been."""
    place = tmp_path_factory.mktemp("kept")
    begun(place)[0].run()
    return place


def test_names_lead_the_way_through_what_is_nested():
    x, y = torch.ones(1), torch.zeros(1)
    assert flat({"weights": {"a.b": x}, "taken": y}) == {"weights/a.b": x, "taken": y}


def test_a_run_comes_back_with_all_it_had(folder):
    run, keeping = begun(folder)
    progress = keeping.resume(run.stepper.state())
    assert progress is not None and (progress.step, progress.seconds > 0) == (3, True)
    state = flat(run.stepper.state())
    kinds = {name.split("/")[0] for name in state}
    assert kinds == {"weights", "average", "optimiser", "taken", "carried"}
    assert int(state["taken"]) == 3
    assert state["carried/0/wkv"].abs().max() > 0
    assert all(state[name].abs().max() > 0 for name in state if name.endswith(("exp_avg", "momentum_buffer")))


def test_config_and_order_of_the_data_are_kept(folder):
    told = json.loads((folder / "checkpoints" / "step-0000003" / "manifest.json").read_text())["told"]
    assert TrainingConfig.model_validate(told["config"]) == TINY
    assert told["progress"]["step"] == 3
    assert told["lesson"]["tokenizer"] == "abc" and len(told["lesson"]["documents"]) == 64


def test_habits_and_schedule_may_change(folder):
    config = TINY.but(schedule={"steps": 5}, habits={"keep": 3}, data={"valid_tokens": 7})
    run, keeping = begun(folder, config)
    progress = keeping.resume(run.stepper.state())
    assert progress is not None and progress.step == 3


@pytest.mark.parametrize(
    ("changes", "documents", "words"),
    [
        ({"seed": 9}, 6, "seed was 1, and is 9 now"),
        ({"shape": {"layers": 2}}, 6, "shape.layers was 1, and is 2 now"),
        ({"data": {"source_power": 0.5}}, 6, "data.source_power was 1.0, and is 0.5 now"),
        ({"optimiser": {"name": "adamw"}}, 6, "this run needs|has no place in this run"),
        ({"optimiser": {"average": 0.0}}, 6, "'average/.*' has no place in this run"),
        ({}, 7, "the corpus holds other documents now"),
    ],
)
def test_another_run_is_not_taken_up(folder, changes, documents, words):
    run, keeping = begun(folder, TINY.but(**changes), documents)
    with pytest.raises(CheckpointError, match=words):
        keeping.resume(run.stepper.state())


def test_nothing_to_resume_is_none(tmp_path):
    run, keeping = begun(tmp_path)
    assert keeping.resume(run.stepper.state()) is None
