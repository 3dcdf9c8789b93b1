"""The official recipe: groups, decay and the course of the learning rate."""

import pytest
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.optimizer import learning_rate, make_optimizer, parameter_groups, set_learning_rate

CONFIG = TrainingConfig(learning_rate=1e-3, final_learning_rate=1e-5, warmup_steps=10)


@pytest.mark.parametrize(
    "step, progress, rate",
    [
        (0, 0.0, 1e-5),
        (5, 0.0, 0.505e-3),
        (10, 0.0, 1e-3),
        (1000, 0.5, 0.505e-3),
        (2000, 1.0, 1e-5),
        (2000, 1.7, 1e-5),
    ],
)
def test_the_rate_warms_up_and_falls_as_a_cosine(step, progress, rate):
    assert learning_rate(step, progress, CONFIG) == pytest.approx(rate)


def test_matrices_decay_and_w0_learns_twice_as_fast():
    weights = initial_weights(new_spec(2, 64, 128), torch.Generator())
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in weights.items()}
    names = {id(parameter): name for name, parameter in parameters.items()}
    groups = {
        (group["weight_decay"], group["rate_factor"]): [names[id(parameter)] for parameter in group["params"]]
        for group in parameter_groups(parameters, 0.1)
    }
    decaying, doubled, plain = groups[0.1, 1.0], groups[0.0, 2.0], groups[0.0, 1.0]
    assert doubled == ["blocks.0.att.w0", "blocks.1.att.w0"]
    assert set(decaying) == {"emb.weight", "head.weight"} | {
        f"blocks.{layer}.{name}.weight"
        for layer in (0, 1)
        for name in ("att.receptance", "att.key", "att.value", "att.output", "ffn.key", "ffn.value")
    }
    assert {"blocks.0.att.w1", "blocks.0.ln0.weight", "blocks.1.att.r_k"} <= set(plain)
    assert len(decaying) + len(doubled) + len(plain) == len(parameters)

    optimizer = make_optimizer(parameters, CONFIG)
    set_learning_rate(optimizer, 3e-4)
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {
        (3e-4, CONFIG.weight_decay),
        (6e-4, 0.0),
        (3e-4, 0.0),
    }
    assert all(group["betas"] == (0.9, 0.99) and group["eps"] == 1e-18 for group in optimizer.param_groups)
