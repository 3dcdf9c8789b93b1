"""Packed documents, carried states and every version's gradients give what documents one by one give."""

import numpy as np
import pytest
import torch

from rwkv_music.model.initial import standard_spec
from rwkv_music.model.invented import RandomWeights
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.learning.carrying import Line
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.making import make_learner
from rwkv_music_training.learning.module import Learner
from rwkv_music_training.learning.objective import nats
from rwkv_music_training.learning.order import Windows
from rwkv_music_training.learning.packing import pack

VERSIONS = ("4", "5.0", "5.1", "5.2", "6", "7")
VOCABULARY = 40
# Of a mean loss in float32.
TOLERANCE = 1e-6


def learner_of(version: str, **machine: object) -> Learner:
    """Two layers of random weights, among which no gradient is zero."""
    config = TrainingConfig().but(machine={"precision": "float32", **machine}, optimiser={"l2wrap": 0.0})
    weights = dict(RandomWeights(standard_spec(version, 2, 32, VOCABULARY, head_size=32, ffn=32), seed=1))
    return make_learner(config, VOCABULARY, choose_kernels("cpu", "cpu"), weights)


def documents_of(*lengths: int) -> list[np.ndarray]:
    chance = np.random.default_rng(5)
    return [chance.integers(0, VOCABULARY, length) for length in lengths]


def gradients(learner: Learner, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    learning = learner.learning()
    return dict(zip(learning, torch.autograd.grad(loss, list(learning.values())), strict=True))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_gradient_is_that_of_the_float64_loop(version):
    learner = learner_of(version)
    documents = documents_of(30, 2, 17)
    own = gradients(learner, learner(pack(documents)).nats / 46)
    weights = {name: each.detach().double().requires_grad_() for name, each in learner.named.items()}
    model = build_model(learner.spec, weights, choose_kernels("cpu", "reference"))
    total = torch.zeros((), dtype=torch.float64)
    for ids in map(torch.from_numpy, documents):
        zeros = State.zeros(learner.spec)
        state = State(*(each.double() for each in (zeros.time_shift, zeros.channel_shift, zeros.wkv)))
        logits, _ = model.forward(ids[None, :-1], state)
        total = total + torch.nn.functional.cross_entropy(logits[0], ids[1:], reduction="sum")
    expected = torch.autograd.grad(total / 46, list(weights.values()))
    for name, gradient in zip(weights, expected, strict=True):
        largest = gradient.abs().max().item()
        torch.testing.assert_close(own[name].double(), gradient, rtol=1e-3, atol=1e-5 * largest + 1e-12, msg=name)


@pytest.mark.parametrize("version", VERSIONS)
def test_packed_documents_cost_and_teach_what_they_do_one_by_one(version):
    learner = learner_of(version)
    documents = documents_of(30, 2, 17, 64)
    packed = learner(pack(documents)).nats / 109
    alone = torch.stack([learner(pack([ids])).nats for ids in documents]).sum() / 109
    assert packed.item() == pytest.approx(alone.item(), abs=TOLERANCE)
    own, expected = gradients(learner, packed), gradients(learner, alone)
    for name, gradient in expected.items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(own[name], gradient, rtol=1e-4, atol=1e-5 * largest + 1e-12, msg=name)


@pytest.mark.parametrize("version", VERSIONS)
@torch.no_grad()
def test_windows_with_carried_state_cost_what_one_long_pass_does(version):
    learner = learner_of(version)
    documents = documents_of(150, 12, 61)
    numbers = np.arange(3)
    lengths = np.array([len(ids) for ids in documents])
    line = Line(Windows(numbers, numbers, 0 * numbers, lengths), lambda document, cycle: documents[document], 2, 16)
    state, total, counted = None, 0.0, 0
    for place in range(line.rows):
        batch = line.at(place, [0, 1])
        told = learner(batch, 0, state or State.zeros(learner.spec, 2))
        state = State(*told.carried)
        total, counted = total + told.nats.item(), counted + batch.tokens
    # The second lane begins inside the first document, where the line of 220 positions is cut: at 112.
    cut = [documents[0][:113], documents[0][112:], *documents[1:]]
    expected = sum(learner(pack([ids])).nats.item() for ids in cut)
    assert counted == 220
    assert total / counted == pytest.approx(expected / counted, abs=TOLERANCE)


def test_the_gradient_ends_where_the_state_is_carried_from():
    learner = learner_of("7")
    documents = documents_of(40)
    windows = Windows(np.array([0]), np.array([0]), np.array([0]), np.array([40]))
    line = Line(windows, lambda document, cycle: documents[document], 1, 16)
    first = learner(line.at(0, [0]), 0, State.zeros(learner.spec))
    assert first.carried is not None and not any(each.requires_grad for each in first.carried)
    second = learner(line.at(1, [0]), 0, State(*first.carried))
    fresh = learner(line.at(1, [0]), 0, State.zeros(learner.spec))
    assert second.nats.item() != pytest.approx(fresh.nats.item(), abs=1e-3)


def test_computing_blocks_again_changes_nothing():
    plain, again = learner_of("7"), learner_of("7", recompute=True)
    for learner in (plain, again):
        learner.config = learner.config.but(optimiser={"dropout": 0.2})
    batch = pack(documents_of(30, 17))
    one, other = (learner(batch, step=3).nats for learner in (plain, again))
    assert one.item() == other.item()
    own, expected = gradients(again, other), gradients(plain, one)
    assert all(torch.equal(own[name], expected[name]) for name in expected)


def test_the_loss_leaves_out_what_is_not_counted():
    logits, targets = torch.randn(1, 4, 7, requires_grad=True), torch.zeros(1, 4, dtype=torch.int64)
    counted = torch.tensor([[True, True, False, True]])
    loss = nats(logits, targets, counted, l2wrap=0.5)
    plain = torch.nn.functional.cross_entropy(logits[counted], targets[counted], reduction="sum")
    assert loss.item() == pytest.approx(plain.item(), abs=1e-6)
    (wrapped,), (own,) = torch.autograd.grad(loss, [logits]), torch.autograd.grad(plain, [logits])
    # factor / 2 * (largest logit)^2 of every counted position, differentiated by hand
    expected = torch.zeros_like(logits)
    largest, place = logits.detach().max(dim=-1, keepdim=True)
    expected.scatter_(-1, place, 0.5 * largest)
    torch.testing.assert_close(wrapped - own, expected * counted[..., None])
