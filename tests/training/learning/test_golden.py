"""Loss, gradients and optimiser steps of RWKV-6 and 7 are those of a float64 reference (train.safetensors of each).

Tolerances are those of float32: loss 1e-5, gradients 1e-3 relative, optimiser steps 1e-3. RWKV-7's also lists block 0's
v0, v1 and v2, which no computation reads: their gradients are zero there, and our model does not have them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.model.versions import tensor_shapes
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.making import make_learner
from rwkv_music_training.learning.module import Learner
from rwkv_music_training.learning.packing import Batch
from rwkv_music_training.learning.stepping import Stepper

RATE = 1e-3


class Golden:
    """The vectors, and the batch they are of: two documents of 64 positions."""

    def __init__(self, folder: Path):
        with safe_open(folder / "train.safetensors", "pt") as file:
            self.names: list[str] = json.loads(file.metadata()["param_names"])
            self.vectors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.weights = {name: tensor.float() for name, tensor in load_weights(folder / "model.pth").items()}
        ids, targets = self.vectors["idx"], self.vectors["targets"]
        self.rows = [row(ids[number], targets[number], number) for number in range(2)]
        counted = torch.ones(1, ids.numel(), dtype=torch.bool)
        ends = torch.tensor([0, ids.shape[1], ids.numel()])
        self.batch = Batch(ids.reshape(1, -1), targets.reshape(1, -1), counted, ends, torch.arange(2))

    def learner(self, backend: str, **optimiser: float) -> Learner:
        config = TrainingConfig().but(
            machine={"precision": "float32"},
            data={"pieces": 1},
            optimiser={"l2wrap": 0.0, "average": 0.0, "weight_decay": 0.1, **optimiser},
        )
        return make_learner(config, 128, choose_kernels("cpu", backend), self.weights)


def row(ids: torch.Tensor, targets: torch.Tensor, number: int) -> Batch:
    """One document as a batch."""
    counted, ends = torch.ones(1, len(ids), dtype=torch.bool), torch.tensor([0, len(ids)])
    return Batch(ids[None], targets[None], counted, ends, torch.tensor([number]), number)


class Always:
    """The same micro-batches at every step."""

    per_epoch = 1

    def __init__(self, batches: list[Batch]):
        self._batches = batches

    def at(self, step: int, process: int = 0, processes: int = 1) -> list[Batch]:
        return self._batches


def probe(tensor: torch.Tensor) -> float:
    flat = tensor.detach().double().flatten()
    return float(flat @ torch.cos(0.37 * torch.arange(len(flat), dtype=torch.float64) + 0.1))


def check_probes(golden: Golden, tensors: Mapping[str, torch.Tensor], expected: str, within: float = 1e-3) -> None:
    """Every probe differs by less than `within` of the norm of its tensor."""
    for name, value in zip(golden.names, golden.vectors[expected].tolist(), strict=True):
        if name in tensors:
            norm = float(tensors[name].detach().double().norm())
            assert probe(tensors[name]) == pytest.approx(value, rel=within, abs=within * norm), name


def gradients(learner: Learner, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss, and the gradient of every weight."""
    loss = learner(batch).nats / batch.tokens
    learning = learner.learning()
    return loss.item(), dict(zip(learning, torch.autograd.grad(loss, list(learning.values())), strict=True))


@pytest.fixture(scope="module", params=["v6", "v7"])
def golden(data: Path, request: pytest.FixtureRequest) -> Golden:
    return Golden(data / "engine" / request.param)


@pytest.fixture(scope="module", params=["cpu", "reference"])
def learnt(golden: Golden, request: pytest.FixtureRequest) -> tuple[float, dict[str, torch.Tensor]]:
    return gradients(golden.learner(request.param), golden.batch)


def test_every_weight_of_the_model_learns(golden, learnt):
    assert learnt[1].keys() == tensor_shapes(golden.learner("cpu").spec).keys()


def test_the_loss_is_the_reference_loss(golden, learnt):
    assert learnt[0] == pytest.approx(golden.vectors["loss"].item(), abs=1e-5)


def test_every_gradient_is_probed_and_as_long_as_the_reference(golden, learnt):
    check_probes(golden, learnt[1], "probe_ce")
    for name, norm in zip(golden.names, golden.vectors["norm_ce"].tolist(), strict=True):
        assert float(learnt[1][name].norm()) == pytest.approx(norm, rel=1e-3) if name in learnt[1] else norm == 0, name


def test_whole_gradients_are_the_reference_gradients(golden, learnt):
    stored = {key.removeprefix("grad."): value for key, value in golden.vectors.items() if key.startswith("grad.")}
    assert len(stored) in (13, 17)
    for name, expected in stored.items():
        torch.testing.assert_close(learnt[1][name], expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_l2wrap_adds_the_reference_gradient(golden):
    check_probes(golden, gradients(golden.learner("cpu", l2wrap=1e-4), golden.batch)[1], "probe_ce_l2wrap")


# With Adam's epsilon of 1e-18 a gradient that is nothing but rounding still makes a whole step, in a direction that
# depends on the processor: the norm of the next gradient tells how much of that there is.
@pytest.mark.parametrize("backend, norms_within", [("reference", 1e-3), ("cpu", 1e-2)])
def test_five_steps_are_the_reference_steps(golden, alone, backend, norms_within):
    stepper = Stepper(golden.learner(backend, l2wrap=1e-4), Always([golden.batch]), alone)
    outcomes = [stepper.step(number, RATE) for number in range(5)]
    losses = [outcome.loss for outcome in outcomes] + [gradients(stepper.learner, golden.batch)[0]]
    torch.testing.assert_close(torch.tensor(losses), golden.vectors["opt_losses"].float(), rtol=0, atol=1e-3)
    norms = torch.tensor([outcome.gradient_norm for outcome in outcomes])
    torch.testing.assert_close(norms, golden.vectors["opt_gradnorms"].float(), rtol=norms_within, atol=0)
    check_probes(golden, stepper.learning, "opt_param_probe")


def test_micro_batches_add_up_to_the_gradient_of_the_whole_step(golden, alone):
    whole = Stepper(golden.learner("cpu", clip=1e9, l2wrap=1e-4), Always([golden.batch]), alone)
    halves = Stepper(golden.learner("cpu", clip=1e9, l2wrap=1e-4), Always(golden.rows), alone)
    assert whole.step(0, RATE).loss == pytest.approx(halves.step(0, RATE).loss, abs=1e-6)
    for name, parameter in whole.learning.items():
        assert parameter.grad is not None
        largest = parameter.grad.abs().max().item()
        torch.testing.assert_close(parameter.grad, halves.learning[name].grad, rtol=1e-4, atol=1e-6 * largest)
