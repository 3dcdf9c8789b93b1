"""Loss, gradients and optimiser steps of RWKV-6 and 7 are those of a float64 reference (train.safetensors of each).

Tolerances are those of float32: loss 1e-5, gradients 1e-3 relative, optimiser steps 1e-3. RWKV-7's also lists block 0's
v0, v1 and v2, which no computation reads: their gradients are zero there, and our model does not have them.
"""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model, read_spec, shapes_of, tensor_shapes
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.batches import Batch
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.learner import Learner
from rwkv_music_training.optimizer import language_loss

RATE = 1e-3


class Golden:
    """The vectors, and our model on the same weights."""

    def __init__(self, folder: Path):
        with safe_open(folder / "train.safetensors", "pt") as file:
            self.names: list[str] = json.loads(file.metadata()["param_names"])
            self.vectors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.weights = {name: tensor.float() for name, tensor in load_weights(folder / "model.pth").items()}
        self.spec = read_spec(shapes_of(self.weights))
        idx, targets = self.vectors["idx"], self.vectors["targets"]
        self.batch = Batch(idx, targets, torch.ones_like(idx, dtype=torch.bool))

    def model(self, backend: str) -> Model:
        used = {name: self.weights[name].clone().requires_grad_() for name in tensor_shapes(self.spec)}
        return build_model(self.spec, used, choose_kernels("cpu", backend))

    def loss(self, model: Model, wkv: torch.Tensor | None = None, l2wrap: float = 0.0) -> torch.Tensor:
        state = State.zeros(self.spec, 2)
        if wkv is not None:
            state = State(state.time_shift, state.channel_shift, wkv[:, None].expand(-1, 2, -1, -1, -1))
        logits, _ = model.forward(self.batch.inputs, state)
        return language_loss(logits, self.batch.targets, self.batch.counted, l2wrap)


def probe(tensor: torch.Tensor) -> float:
    flat = tensor.detach().double().flatten()
    return float(flat @ torch.cos(0.37 * torch.arange(len(flat), dtype=torch.float64) + 0.1))


def check_probes(golden: Golden, tensors: dict[str, torch.Tensor], expected: str, within: float = 1e-3) -> None:
    """Every probe differs by less than `within` of the norm of its tensor."""
    for name, value in zip(golden.names, golden.vectors[expected].tolist(), strict=True):
        if name not in tensor_shapes(golden.spec):
            continue
        norm = float(tensors[name].detach().double().norm())
        assert probe(tensors[name]) == pytest.approx(value, rel=within, abs=within * norm), name


@pytest.fixture(scope="module", params=["v6", "v7"])
def golden(data: Path, request: pytest.FixtureRequest) -> Golden:
    return Golden(data / "engine" / request.param)


@pytest.fixture(scope="module")
def model(golden: Golden) -> Model:
    return golden.model("cpu")


@pytest.fixture(scope="module", params=["cpu", "reference"])
def learnt(golden: Golden, request: pytest.FixtureRequest) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss, and the gradient of every weight."""
    model = golden.model(request.param)
    loss = golden.loss(model)
    gradients = torch.autograd.grad(loss, list(model.weights.values()))
    return loss.item(), dict(zip(model.weights, gradients, strict=True))


def test_the_loss_is_the_reference_loss(golden, learnt):
    assert learnt[0] == pytest.approx(golden.vectors["loss"].item(), abs=1e-5)


def test_every_gradient_is_probed_and_as_long_as_the_reference(golden, learnt):
    gradients = learnt[1]
    check_probes(golden, gradients, "probe_ce")
    for name, norm in zip(golden.names, golden.vectors["norm_ce"].tolist(), strict=True):
        if name not in tensor_shapes(golden.spec):
            assert norm == 0
        else:
            assert float(gradients[name].norm()) == pytest.approx(norm, rel=1e-3), name


def test_whole_gradients_are_the_reference_gradients(golden, learnt):
    gradients = learnt[1]
    stored = {key.removeprefix("grad."): value for key, value in golden.vectors.items() if key.startswith("grad.")}
    assert len(stored) == {"6": 13, "7": 17}[golden.spec.version]
    for name, expected in stored.items():
        torch.testing.assert_close(gradients[name], expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_l2wrap_adds_the_reference_gradient(golden, model):
    wrapped = torch.autograd.grad(golden.loss(model, l2wrap=1e-4), list(model.weights.values()))
    check_probes(golden, dict(zip(model.weights, wrapped, strict=True)), "probe_ce_l2wrap")


def test_gradients_reach_the_initial_state(golden, model):
    start = golden.vectors["time_state"].float().requires_grad_()
    loss = golden.loss(model, start)
    assert loss.item() == pytest.approx(golden.vectors["loss_with_state"].item(), abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, [start])
    for layer in range(golden.spec.layers):
        norm = golden.vectors["norm_time_state"][layer].item()
        assert gradient[layer].norm().item() == pytest.approx(norm, rel=1e-3)
        assert probe(gradient[layer]) == pytest.approx(
            golden.vectors["probe_time_state"][layer].item(), abs=1e-3 * norm
        )
    expected = golden.vectors["grad_time_state.blocks.1"]
    torch.testing.assert_close(gradient[1], expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


# With Adam's epsilon of 1e-18 a gradient that is nothing but rounding still makes a whole step, in a direction that
# depends on the processor: the norm of the next gradient tells how much of that there is.
@pytest.mark.parametrize("backend, norms_within", [("reference", 1e-3), ("cpu", 1e-2)])
def test_five_steps_of_the_learner_are_the_reference_steps(golden, backend, norms_within):
    config = TrainingConfig(precision="float32", weight_decay=0.1, pieces=1)
    learner = Learner(config, choose_kernels("cpu", backend), golden.weights)
    assert learner.spec == golden.spec
    losses, norms = [], []
    for step in range(5):
        loss = learner.learn([golden.batch], RATE, step)
        assert loss is not None
        losses.append(loss * math.log(2))
        norms.append(learner.gradient_norm)
    losses.append(golden.loss(learner.model).item())
    torch.testing.assert_close(torch.tensor(losses), golden.vectors["opt_losses"].float(), rtol=0, atol=1e-3)
    torch.testing.assert_close(torch.tensor(norms), golden.vectors["opt_gradnorms"].float(), rtol=norms_within, atol=0)
    check_probes(golden, {**learner.parameters}, "opt_param_probe")


def test_pieces_add_up_to_the_gradient_of_the_whole_batch(golden):
    config = TrainingConfig(precision="float32", clip=1e9)
    whole, halves = (Learner(config, choose_kernels("cpu", "cpu"), golden.weights) for _ in range(2))
    counted = golden.batch.counted.clone()
    counted[1, 40:] = False
    batch = Batch(golden.batch.inputs, golden.batch.targets, counted)
    rows = [Batch(batch.inputs[row], batch.targets[row], batch.counted[row]) for row in (slice(0, 1), slice(1, 2))]
    one, two = whole.learn([batch], RATE, 0), halves.learn(rows, RATE, 0)
    assert one == pytest.approx(two, abs=1e-5)
    for name, parameter in whole.parameters.items():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, halves.parameters[name].grad, rtol=1e-4, atol=1e-7)


def test_l2wrap_is_what_its_definition_says():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 5, 7, generator=generator, requires_grad=True)
    targets = torch.randint(0, 7, (2, 5), generator=generator)
    counted = torch.ones(2, 5, dtype=torch.bool)
    counted[1, 3:] = False
    (wrapped,) = torch.autograd.grad(language_loss(logits, targets, counted, 0.5), [logits])
    (plain,) = torch.autograd.grad(functional.cross_entropy(logits[counted], targets[counted]), [logits])
    # factor / positions / 2 * (largest logit)^2, differentiated by hand
    expected = torch.zeros_like(logits)
    largest, place = logits.detach().max(dim=-1, keepdim=True)
    expected.scatter_(-1, place, 0.5 * largest / counted.sum())
    torch.testing.assert_close(wrapped - plain, expected * counted[..., None])


def test_l2wrap_leaves_the_loss_alone():
    logits, targets = torch.randn(1, 4, 7), torch.zeros(1, 4, dtype=torch.int64)
    counted = torch.ones(1, 4, dtype=torch.bool)
    assert torch.equal(language_loss(logits, targets, counted, 0.0), language_loss(logits, targets, counted, 1.0))
