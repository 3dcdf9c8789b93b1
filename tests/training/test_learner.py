"""A step of learning: repeatable with dropout and threads, and left out when the gradient is not finite."""

import pytest
import torch

from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.batches import TuneBatches
from rwkv_music_training.learner import Learner, dropout
from rwkv_music_training.lessons import AbcLesson
from rwkv_music_training.trainer import MOST_SKIPPED_IN_A_ROW, Trainer, TrainingError


@pytest.fixture
def batches(tunes, tiny) -> TuneBatches:
    return TuneBatches(tunes, tiny, lambda text, semitones: text, lambda text: [0])


def same(one: Learner, other: Learner) -> bool:
    return all(
        torch.equal(tensor, other.tensors()[kind][name])
        for kind, group in one.tensors().items()
        for name, tensor in group.items()
    )


def test_steps_with_dropout_and_threads_can_be_repeated(batches, tiny):
    one, other = (Learner(tiny, choose_kernels("cpu")) for _ in range(2))
    for step in range(4):
        torch.rand(step + 1)
        assert one.learn(batches.at(step), 1e-2, step) == other.learn(batches.at(step), 1e-2, step)
    assert same(one, other)


def test_the_number_of_threads_does_not_change_the_result(batches, tiny):
    one, other = (Learner(tiny.but(threads=threads), choose_kernels("cpu")) for threads in (1, 3))
    for step in range(2):
        one.learn(batches.at(step), 1e-2, step)
        other.learn(batches.at(step), 1e-2, step)
    assert same(one, other)


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    drop = dropout(0.25, 1, 2, 3)
    assert drop is not None
    dropped = drop(torch.ones(200, 200), 0)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4 / 3]))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("seeds", [(2, 2, 3), (1, 3, 3), (1, 2, 4)])
def test_dropout_differs_with_seed_step_and_piece(seeds):
    one, other = dropout(0.5, 1, 2, 3), dropout(0.5, *seeds)
    assert one is not None and other is not None
    x = torch.ones(64)
    first = one(x, 0)
    assert not torch.equal(first, other(x, 0))
    assert not torch.equal(first, one(x, 1))
    assert torch.equal(first, one(x, 0))


def test_no_dropout_is_no_function():
    assert dropout(0.0, 1) is None


def test_a_step_that_is_not_finite_changes_nothing(batches, tiny):
    learner = Learner(tiny, choose_kernels("cpu"))
    learner.learn(batches.at(0), 1e-2, 0)
    with torch.no_grad():
        learner.parameters["ln_out.bias"][0] = torch.nan
    before = {kind: {name: x.clone() for name, x in group.items()} for kind, group in learner.tensors().items()}
    assert learner.learn(batches.at(1), 1e-2, 1) is None
    for kind, group in learner.tensors().items():
        for name, tensor in group.items():
            torch.testing.assert_close(tensor, before[kind][name], rtol=0, atol=0, equal_nan=True)


def test_skipped_steps_are_counted_and_too_many_end_the_run(tunes, tiny, batches, tmp_path):
    config = tiny.but(steps=1000, evaluate_every=1000)
    trainer = Trainer(config, AbcLesson(batches, tunes[:3]), tmp_path, choose_kernels("cpu"))
    with torch.no_grad():
        trainer.learner.parameters["ln_out.bias"][0] = torch.nan
    with pytest.raises(TrainingError, match="lower learning_rate"):
        trainer.run()
    assert trainer.progress.skipped == trainer.progress.step == MOST_SKIPPED_IN_A_ROW


def test_the_average_follows_the_weights(batches, tiny):
    learner = Learner(tiny, choose_kernels("cpu"))
    first = {name: x.detach().clone() for name, x in learner.parameters.items()}
    learner.learn(batches.at(0), 1e-2, 0)
    # After one step the decay is 2/11, so that the first weights are soon forgotten.
    for name, parameter in learner.parameters.items():
        expected = first[name] * 2 / 11 + parameter * 9 / 11
        torch.testing.assert_close(learner.average[name], expected.detach())
    assert learner.best_guess.weights is learner.average


def test_bfloat16_learns_too(batches, tiny):
    learner = Learner(tiny.but(precision="bfloat16", dropout=0.0), choose_kernels("cpu"))
    losses = [learner.learn(batches.at(0), 1e-2, step) for step in range(4)]
    assert losses[0] == pytest.approx(7, abs=0.3)
    assert losses[3] is not None and losses[3] < 6.5
