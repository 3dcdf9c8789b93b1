"""Schedules, parameter groups, dropout and blanks are what their sources say."""

import pytest
import torch

from rwkv_music.model.initial import initial_weights, standard_spec
from rwkv_music_training.learning.config import ConfigError, Optimiser, Schedule
from rwkv_music_training.learning.dropping import blanked, dropout
from rwkv_music_training.learning.optimiser import make_optimisers, set_learning_rate
from rwkv_music_training.learning.schedule import learning_rate

RATES = Optimiser(learning_rate=1.0, final_learning_rate=0.2)


@pytest.mark.parametrize(
    "shape, done, rate",
    [
        ("cosine", 0.0, 1.0),
        ("cosine", 0.5, 0.6),
        ("cosine", 1.0, 0.2),
        ("wsd", 0.7, 1.0),
        ("wsd", 0.9, 0.6),
        ("wsd", 1.0, 0.2),
        ("constant", 0.9, 1.0),
    ],
)
def test_the_rate_follows_its_schedule(shape, done, rate):
    schedule = Schedule(shape=shape, warmup=10, decay=0.2)
    assert learning_rate(1000, done, RATES, schedule) == pytest.approx(rate)
    assert learning_rate(0, done, RATES, schedule) == pytest.approx(0.01 * rate)
    assert learning_rate(5, done, RATES, schedule) == pytest.approx(0.505 * rate)


@pytest.mark.parametrize(
    "version, factors",
    [("7", {"att.w0": 2}), ("6", {"att.time_decay": 2}), ("4", {"att.time_decay": 2, "att.time_first": 3})],
)
def test_groups_are_those_of_the_official_trainers(version, factors):
    spec = standard_spec(version, 2, 64, 128)
    weights = initial_weights(spec, torch.Generator().manual_seed(0))
    parameters = {name: torch.nn.Parameter(each) for name, each in weights.items()}
    (optimiser,) = make_optimisers(parameters, Optimiser(weight_decay=0.3))
    set_learning_rate(optimiser, 1e-3)
    told = {
        id(each): (group["lr"] / 1e-3, group["weight_decay"])
        for group in optimiser.param_groups
        for each in group["params"]
    }
    for name, parameter in parameters.items():
        factor = next((value for end, value in factors.items() if name.endswith(end)), 1)
        decays = name.endswith(".weight") and parameter.dim() == 2
        assert told[id(parameter)] == pytest.approx((factor, 0.3 if decays else 0.0)), name
    assert optimiser.param_groups[0]["betas"] == (0.9, 0.99) and optimiser.param_groups[0]["eps"] == 1e-18


def test_muon_without_torch_2_9_is_told(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    parameters = {"blocks.0.att.key.weight": torch.nn.Parameter(torch.ones(2, 2))}
    with pytest.raises(ConfigError, match="needs torch 2.9 or newer"):
        make_optimisers(parameters, Optimiser(name="muon"))


def test_dropout_zeroes_its_share_keeps_the_mean_and_repeats_itself():
    drop = dropout(0.25, 1, 2)
    assert drop is not None and dropout(0.0, 1) is None
    dropped = drop(torch.ones(200, 200), 3)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4 / 3]))
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(dropped, drop(torch.ones(200, 200), 3))
    assert not torch.equal(dropped, drop(torch.ones(200, 200), 4))


def test_blanks_take_another_share_of_each_document_leave_its_begin_and_repeat_themselves():
    ids = torch.arange(1, 4001)[None]
    cu_seqlens = torch.tensor([0, 1000, 2000, 3000, 4000])
    seen = blanked(ids, cu_seqlens, 0.2, 1, 2)
    blank = seen == 0
    assert torch.equal(seen[~blank], ids[~blank]) and not blank[0, ::1000].any()
    shares = blank.view(4, 1000).float().mean(1)
    assert shares.max() < 0.45 and shares.max() - shares.min() > 0.05
    assert torch.equal(blanked(ids, cu_seqlens, 0.2, 1, 2), seen)
    assert not torch.equal(blanked(ids, cu_seqlens, 0.2, 1, 3), seen)


def test_blanks_are_about_the_share_that_was_asked_for():
    ids, cu_seqlens = torch.ones(1, 40_000, dtype=torch.int64), torch.arange(0, 40_001, 100)
    assert (blanked(ids, cu_seqlens, 0.1, 5) == 0).float().mean() == pytest.approx(0.1, abs=0.02)
