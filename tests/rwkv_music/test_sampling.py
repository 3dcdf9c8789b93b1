"""Sampling: what each filter keeps, what options are refused, and a generator that can be saved at any draw."""

import json
import math

import numpy as np
import pytest

from rwkv_music.sampling import (
    Sampler,
    SamplingError,
    SamplingOptions,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    pick,
    temper,
)


def log(*shares: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(shares, np.float32))


def kept(logits: np.ndarray) -> list[int]:
    return np.flatnonzero(np.isfinite(logits)).tolist()


@pytest.mark.parametrize(
    ("count", "expected"), [(0, [0, 1, 2, 3]), (1, [1]), (2, [1, 2]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])]
)
def test_top_k_keeps_the_highest(count, expected):
    assert kept(keep_top_k(log(0.1, 0.4, 0.3, 0.2), count)) == expected


def test_top_k_of_equals_keeps_the_lower_ids():
    assert kept(keep_top_k(np.zeros(5, np.float32), 2)) == [0, 1]


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, [0, 1, 2, 3]), (0.35, [1]), (0.6, [1, 2]), (0.85, [1, 2, 3]), (0.95, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_fewest_that_hold_the_share(share, expected):
    assert kept(keep_top_p(log(0.1, 0.4, 0.3, 0.2), share)) == expected


def test_min_p_drops_what_is_rare_beside_the_likeliest():
    assert kept(keep_min_p(log(0.05, 0.5, 0.3, 0.15), 0.2)) == [1, 2, 3]
    assert kept(keep_min_p(log(0.05, 0.5, 0.3, 0.15), 1.0)) == [1]


def test_temperature_raises_probabilities_to_its_inverse():
    cooled = np.exp(temper(log(0.8, 0.2), 0.5))
    assert cooled[1] / cooled[0] == pytest.approx((0.2 / 0.8) ** 2)


def test_filters_leave_what_they_are_given_alone():
    logits = log(0.1, 0.4, 0.3, 0.2)
    before = logits.copy()
    for changed in keep_top_k(logits, 1), keep_top_p(logits, 0.3), keep_min_p(logits, 0.9), temper(logits, 2.0):
        assert not np.array_equal(changed, before)
    assert np.array_equal(logits, before)


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.09, 0), (0.11, 1), (0.49, 1), (0.51, 2), (math.nextafter(1, 0), 3)]
)
def test_a_token_has_as_much_room_as_probability(uniform, token):
    assert pick(log(0.1, 0.4, 0.3, 0.2), uniform) == token


@pytest.mark.parametrize("uniform", [0.0, 0.5, math.nextafter(1, 0)])
def test_a_forbidden_token_is_never_picked(uniform):
    assert pick(log(0, 0, 1, 0, 0), uniform) == 2


def test_draws_follow_the_probabilities():
    sampler = Sampler(SamplingOptions(temperature=1, top_p=1))
    counts = np.bincount([sampler.choose(log(0.1, 0.4, 0.3, 0.2)) for _ in range(20_000)], minlength=4)
    assert counts / 20_000 == pytest.approx([0.1, 0.4, 0.3, 0.2], abs=0.015)


def test_temperature_zero_takes_the_first_of_the_likeliest():
    sampler = Sampler(SamplingOptions(temperature=0))
    assert [sampler.choose(np.array([1, 3, 3, 2], np.float32)) for _ in range(5)] == [1] * 5


def test_all_equal_logits_reach_every_token():
    sampler = Sampler(SamplingOptions(temperature=1, top_p=1))
    assert {sampler.choose(np.zeros(8, np.float32)) for _ in range(500)} == set(range(8))


def test_a_tiny_temperature_takes_the_likeliest():
    assert Sampler(SamplingOptions(temperature=1e-300, top_p=1)).choose(log(0.4, 0.5, 0.1)) == 1


@pytest.mark.parametrize("logits", [[-math.inf, -math.inf], [math.nan, 1], [math.inf, 1]])
def test_logits_that_overflowed_are_refused(logits):
    with pytest.raises(SamplingError, match="overflowed"):
        Sampler(SamplingOptions()).choose(np.array(logits, np.float32))


@pytest.mark.parametrize(
    "setting",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": "hot"},
        {"top_p": 0},
        {"top_p": 1.01},
        {"min_p": -0.5},
        {"min_p": math.inf},
        {"top_k": -1},
        {"top_k": 2.5},
        {"top_k": True},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} must be"):
        SamplingOptions(**setting)


def draws(sampler: Sampler, count: int) -> list[int]:
    logits = np.random.default_rng(5).normal(size=(count, 128)).astype(np.float32)
    return [sampler.choose(row) for row in logits]


def test_the_same_seed_draws_the_same_tokens_and_another_does_not():
    first, again, other = (draws(Sampler(SamplingOptions(seed=seed)), 50) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(
    "options", [SamplingOptions(seed=9), SamplingOptions(temperature=0, seed=9), SamplingOptions(top_k=1, seed=9)]
)
def test_every_token_takes_one_number(options):
    sampler = Sampler(options)
    draws(sampler, 17)
    assert sampler.state() == {"generator": "pcg64", "seed": 9, "draws": 17}


def test_a_saved_generator_goes_on_where_it_was():
    whole = Sampler(SamplingOptions(seed=7))
    draws(whole, 13)
    text = json.dumps(whole.state())
    resumed = Sampler.from_state(whole.options, json.loads(text))
    assert draws(resumed, 40) == draws(whole, 40)


def test_a_clone_goes_its_own_way():
    sampler = Sampler(SamplingOptions(seed=7))
    twin = sampler.clone()
    draws(sampler, 10)
    assert twin.draws == 0
    assert draws(twin, 30) == draws(Sampler(SamplingOptions(seed=7)), 30)


def test_other_options_go_on_but_another_seed_begins_anew():
    sampler = Sampler(SamplingOptions(seed=7), draws=10)
    assert sampler.continued(SamplingOptions(seed=7, top_k=3)).draws == 10
    assert sampler.continued(SamplingOptions(seed=8)).draws == 0


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"generator": "mt19937", "seed": 7, "draws": 0},
        {"generator": "pcg64", "seed": 8, "draws": 0},
        {"generator": "pcg64", "seed": 7, "draws": -1},
        {"generator": "pcg64", "seed": 7, "draws": "1"},
        {"generator": "pcg64", "seed": 7, "draws": 1, "more": 0},
    ],
)
def test_a_state_of_another_generator_is_refused(state):
    with pytest.raises(ValueError, match="generator|draws"):
        Sampler.from_state(SamplingOptions(seed=7), state)


def test_the_numbers_of_a_seed_never_change():
    """Seeds are printed so that tunes can be had again, by later versions too."""
    sampler = Sampler(SamplingOptions(temperature=1, top_p=1, seed=1))
    assert [sampler.choose(np.zeros(128, np.float32)) for _ in range(8)] == [65, 121, 18, 121, 39, 54, 105, 52]
