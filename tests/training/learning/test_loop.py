"""A run learns, can be repeated bit by bit, leaves out steps that are not finite, and ends when it should."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.engine import Engine
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_training.learning import loop
from rwkv_music_training.learning.config import ConfigError, TrainingConfig
from rwkv_music_training.learning.loop import Run, TrainingError
from rwkv_music_training.learning.making import make_learner
from rwkv_music_training.learning.rates import find_rate
from rwkv_music_training.learning.recipe import read_recipe
from rwkv_music_training.learning.watching import Begun, End, Quiet, Reading, Sample, Step


class Everything(Quiet):
    """Keeps all events."""

    def __init__(self) -> None:
        self.events: list[Begun | Step | Reading | Sample | End] = []

    def begin(self, event: Begun) -> None:
        self.events.append(event)

    def step(self, event: Step) -> None:
        self.events.append(event)

    def reading(self, event: Reading) -> None:
        self.events.append(event)

    def sample(self, event: Sample) -> None:
        self.events.append(event)

    def end(self, event: End) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def finished(config: TrainingConfig, lesson, folder: Path, parallel, **changes) -> tuple[Run, Everything]:
    """A run that is over, and what it told."""
    seen = Everything()
    run = Run(config.but(**changes), lesson, folder, parallel, watchers=[seen])
    run.run()
    return run, seen


@pytest.mark.parametrize("version", ["4", "5.2", "6", "7"])
def test_every_version_learns_from_the_official_first_weights(tiny, lesson, tmp_path, alone, version):
    _, seen = finished(
        tiny,
        lesson,
        tmp_path,
        alone,
        shape={"version": version},
        optimiser={"dropout": 0.0, "average": 0.0},
        schedule={"steps": 16, "shape": "wsd"},
        habits={"read_every": 16},
    )
    losses = [step.loss for step in seen.of(Step)]
    assert losses[0] == pytest.approx(math.log(40), abs=0.3)
    assert losses[-1] < losses[0] - 1
    assert seen.of(Reading)[-1].valid == pytest.approx(losses[-1], abs=0.4)


@pytest.mark.parametrize("data", [{}, {"carry": True, "tokens_per_step": 192, "window": 32}])
def test_a_run_can_be_repeated_whatever_the_number_of_threads(tiny, lesson, tmp_path, alone, data):
    runs = [
        finished(tiny, lesson, tmp_path / str(threads), alone, data=data, machine={"threads": threads})
        for threads in (1, 3)
    ]
    (one, seen), (other, also_seen) = runs
    assert [step.loss for step in seen.of(Step)] == [step.loss for step in also_seen.of(Step)]
    for name, parameter in one.stepper.learning.items():
        assert torch.equal(parameter, other.stepper.learning[name])
        assert torch.equal(one.stepper.average.tensors[name], other.stepper.average.tensors[name])


def test_only_the_parts_that_are_named_learn(tiny, lesson, tmp_path, alone):
    weights = make_learner(tiny, lesson.vocabulary, ReferenceKernels()).named
    before = {name: tensor.detach().clone() for name, tensor in weights.items()}
    run, _ = finished(tiny, lesson, tmp_path, alone, method={"parts": ["att.", "blocks.1."]})
    learns = {name for name in before if "att." in name or name.startswith("blocks.1.")}
    assert set(run.stepper.learning) == learns
    after = run.stepper.learner.named
    assert all(torch.equal(after[name], before[name]) for name in before if name not in learns)
    assert not torch.equal(after["blocks.0.att.key.weight"], before["blocks.0.att.key.weight"])
    with pytest.raises(ConfigError, match=r"method\.parts: RWKV-7 has no tensor with 'atn\.' in its name"):
        make_learner(tiny.but(method={"parts": ["atn."]}), lesson.vocabulary, ReferenceKernels())


@pytest.mark.parametrize("reads", [False, True])
def test_whoever_stops_a_run_may_wait_for_a_last_reading(tiny, lesson, tmp_path, alone, reads):
    class Impatient(Everything):
        def step(self, event: Step) -> None:
            if event.step == 2:
                run.stop()

    seen = Impatient()
    run = Run(tiny.but(habits={"read_every": 6}), lesson, tmp_path, alone, watchers=[seen], reads_when_stopped=reads)
    run.run()
    assert [reading.step for reading in seen.of(Reading)] == [3] * reads
    assert [end.reason for end in seen.of(End)] == ["stopped"]


def test_the_readings_are_of_the_average_and_the_best_is_exported(tiny, lesson, tmp_path, alone):
    run, seen = finished(tiny, lesson, tmp_path, alone)
    readings = seen.of(Reading)
    assert [reading.step for reading in readings] == [3, 6]
    assert readings[-1].sources.keys() == {"songs", "tunes"}
    assert run.progress.best == min(reading.valid for reading in readings)
    weights = load_file(tmp_path / "best" / "model.safetensors")
    if readings[-1].is_best:
        assert all(torch.equal(weights[name], each.bfloat16()) for name, each in run.stepper.average.tensors.items())
    told = json.loads((tmp_path / "best" / "config.json").read_text())
    assert told["tokenizer"] == "abc" and told["valid_bits_per_token"]["all"] == pytest.approx(
        run.progress.best / math.log(2), abs=1e-4
    )
    engine = Engine.open(tmp_path / "best")
    assert engine.spec == run.stepper.learner.spec
    sample = seen.of(Sample)[-1]
    logits, _ = sample.model.forward(torch.tensor([[2, 5, 6]]), sample.start)
    assert logits.shape == (1, 3, 40)


def test_a_run_saves_its_own_config(tiny, lesson, tmp_path, alone):
    run, _ = finished(tiny, lesson, tmp_path, alone)
    assert read_recipe(str(tmp_path / "config.yaml")) == run.config


def test_a_reading_is_the_mean_over_whole_documents(tiny, lesson, tmp_path, alone):
    run, seen = finished(tiny, lesson, tmp_path, alone, data={"valid_tokens": 10**6}, optimiser={"average": 0.0})
    total, positions = 0.0, 0
    sample = seen.of(Sample)[-1]
    for number in range(8):
        ids = torch.from_numpy(lesson.valid.read(number))
        logits, _ = sample.model.forward(ids[None, :-1], sample.start)
        total += torch.nn.functional.cross_entropy(logits[0], ids[1:], reduction="sum").item()
        positions += len(ids) - 1
    assert seen.of(Reading)[-1].valid == pytest.approx(total / positions, abs=1e-5)
    assert run.progress.step == 6


def test_steps_that_are_not_finite_are_left_out_and_counted(tiny, lesson, tmp_path, alone, monkeypatch):
    run = Run(tiny, lesson, tmp_path, alone)
    run._step()
    before = {name: each.detach().clone() for name, each in run.stepper.learning.items()}
    monkeypatch.setattr(alone, "clip", lambda parameters, limit: math.nan)
    run._step()
    assert (run.progress.step, run.progress.skipped) == (2, 1)
    assert all(torch.equal(before[name], each) for name, each in run.stepper.learning.items())
    with pytest.raises(TrainingError, match="lower optimiser.learning_rate"):
        for _ in range(loop.MOST_SKIPPED_IN_A_ROW):
            run._step()


def test_a_run_that_reads_no_better_ends_early(tiny, lesson, tmp_path, alone):
    _, seen = finished(
        tiny,
        lesson,
        tmp_path,
        alone,
        optimiser={"learning_rate": 1e-12, "final_learning_rate": 1e-12, "average": 0.0, "dropout": 0.0},
        schedule={"steps": 100},
        habits={"read_every": 1, "patience": 2},
    )
    assert seen.of(End)[0].reason == "out of patience" and len(seen.of(Step)) < 20


def test_a_signal_ends_a_run_after_the_step_under_way(tiny, lesson, tmp_path, alone):
    class Impatient(Everything):
        def step(self, event: Step) -> None:
            super().step(event)
            if event.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    seen = Impatient()
    Run(tiny, lesson, tmp_path, alone, watchers=[seen]).run()
    assert len(seen.of(Step)) == 3 and seen.of(End)[0].reason == "stopped"


def test_epochs_and_minutes_say_how_long_a_run_is(tiny, lesson, tmp_path, alone):
    run = Run(tiny.but(schedule={"epochs": 2}), lesson, tmp_path, alone)
    assert run.steps == 2 * run.batches.per_epoch
    timed = Run(tiny.but(schedule={"minutes": 1e-9}), lesson, tmp_path, alone)
    assert timed.steps == 0 and timed.run().step == 1


def test_muon_takes_the_matrices_of_the_blocks(tiny, lesson, tmp_path, alone):
    run, seen = finished(tiny, lesson, tmp_path, alone, optimiser={"name": "muon"}, schedule={"steps": 12})
    muon, adam = run.stepper.optimisers
    assert isinstance(muon, torch.optim.Muon) and isinstance(adam, torch.optim.AdamW)
    names = {id(each): name for name, each in run.stepper.learning.items()}
    taken = {names[id(each)] for group in muon.param_groups for each in group["params"]}
    assert taken == {
        name
        for name in names.values()
        if name.startswith("blocks.")
        and name.endswith(("receptance.weight", "key.weight", "value.weight", "output.weight"))
    }
    assert seen.of(Step)[-1].loss < seen.of(Step)[0].loss - 0.8


def test_a_range_test_finds_where_the_loss_falls_and_rises(tiny, lesson, tmp_path, alone):
    run = Run(tiny.but(optimiser={"dropout": 0.0, "average": 0.0}), lesson, tmp_path, alone)
    found = find_rate(run.stepper, 1e-4, 100.0, 30)
    assert 1e-3 < found.lowest < 1 and found.suggested == found.lowest / 10
    assert len(found.rates) < 30 and found.losses[0] > min(found.losses) + 0.5
    with pytest.raises(ValueError, match="at least two steps"):
        find_rate(run.stepper, steps=1)
