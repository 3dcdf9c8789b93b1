"""Sampling: what options are refused, what a recipe does, and a sampler that can be saved at any draw."""

import json
import math

import numpy as np
import pytest

from rwkv_music import filters, sampling
from rwkv_music.sampling import Recipe, Sampler, SamplingError, SamplingOptions


def log(*shares: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(shares, np.float32))


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
        {"top_p_first": 1},
        {"recipe": {"penalty": 0.5}},
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
        {"generator": "pcg64", "seed": 7, "draws": 1, "step": 1},
    ],
)
def test_a_state_of_another_generator_is_refused(state):
    with pytest.raises(ValueError, match="generator|draws"):
        Sampler.from_state(SamplingOptions(seed=7), state)


def test_the_numbers_of_a_seed_never_change():
    """Seeds are printed so that tunes can be had again, by later versions too."""
    sampler = Sampler(SamplingOptions(temperature=1, top_p=1, seed=1))
    assert [sampler.choose(np.zeros(128, np.float32)) for _ in range(8)] == [65, 121, 18, 121, 39, 54, 105, 52]


OFFICIAL = Recipe(penalty=0.5, penalty_decay=0.997, end_from=40, end_every=10, biases=((5, -1.0),))
WEIGHTS = np.where(np.arange(64) < 8, 0.3, 1.0)


def official(recipe: Recipe = OFFICIAL) -> Sampler:
    options = SamplingOptions(temperature=1.0, top_k=8, top_p=0.8, top_p_first=True, seed=3, recipe=recipe)
    return Sampler(options, weights=WEIGHTS)


def grown(sampler: Sampler, count: int, start: int = 0) -> list[int]:
    tokens = []
    for row in np.random.default_rng(8).normal(size=(200, 64)).astype(np.float32)[start : start + count]:
        tokens.append(sampler.choose(row))
        sampler.follow(tokens[-1])
    return tokens


def as_its_makers_draw(logits: np.ndarray, uniform: float) -> int:
    """Probabilities at temperature 1; what is rarer than the last that top_p needs goes, then all but the top_k."""
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    highest = np.sort(shares)[::-1]
    shares[shares < highest[np.argmax(highest.cumsum() >= 0.8)]] = 0
    shares[np.argsort(shares)[:-8]] = 0
    return int(np.searchsorted(shares.cumsum(), uniform * shares.sum(), side="right"))


def test_a_recipe_draws_what_its_makers_draw():
    sampler, logits = official(), np.random.default_rng(4).normal(size=(150, 64)).astype(np.float32)
    generator = np.random.PCG64(3)
    often: dict[int, float] = {}
    for step, row in enumerate(logits):
        out = row.astype(np.float64)
        for token, count in often.items():
            out[token] -= 0.5 * count
        out[0] += (step - 40) / 10
        out[5] -= 1
        expected = as_its_makers_draw(out, (generator.random_raw() >> 11) * 2.0**-53)
        assert sampler.choose(row) == expected
        sampler.follow(expected)
        often = {token: 0.997 * count for token, count in often.items()}
        often[expected] = often.get(expected, 0) + (0.3 if expected < 8 else 1.0)


def test_the_end_comes_when_its_time_has_come():
    recipe = Recipe(end=9, end_from=20, end_every=0.05)
    assert grown(official(recipe), 21).count(9) == 0
    assert set(grown(official(recipe), 30)[22:]) == {9}


def test_the_slow_draw_draws_the_same(monkeypatch):
    fast = grown(official(), 60)
    monkeypatch.setattr(sampling, "_fastest_draw", lambda: lambda: filters.draw)
    assert grown(official(), 60) == fast


def test_counts_and_steps_go_on_through_a_file_a_clone_and_other_options():
    whole = official()
    begun = grown(whole, 50)
    text = json.dumps(whole.state())
    saved = Sampler.from_state(whole.options, json.loads(text), WEIGHTS)
    retold = Sampler(whole.options, whole.draws, WEIGHTS)
    for token in begun:
        retold.follow(token)
    rest = [grown(twin, 50, 50) for twin in (saved, retold, whole.clone(), whole.continued(whole.options), whole)]
    assert all(tokens == rest[0] for tokens in rest)
    assert rest[0] != grown(Sampler(whole.options, 50, WEIGHTS), 50, 50)


def test_a_window_of_counted_tokens_goes_on_through_a_file_a_clone_and_other_options():
    whole = official(Recipe(repetition=1.5, repetition_most=2.0, penalty_decay=0.9, window=20))
    grown(whole, 50)
    assert len(whole.recent) == 20
    saved = Sampler.from_state(whole.options, json.loads(json.dumps(whole.state())), WEIGHTS)
    twins = (saved, whole.clone(), whole.continued(whole.options))
    rest = [(grown(twin, 50, 50), twin.counts.tolist()) for twin in (*twins, whole)]
    assert all(tokens == rest[0] for tokens in rest)


@pytest.mark.parametrize("recent", [[], [1] * 21, [64], "1", [1.5]])
def test_odd_windows_are_refused(recent):
    options = official(Recipe(repetition=1.5, window=20)).options
    state = {**Sampler(options).state(), "step": 1, "counts": {}, "recent": recent}
    with pytest.raises(ValueError, match="recent must be"):
        Sampler.from_state(options, state, WEIGHTS)


def test_counts_without_a_recipe_are_refused():
    options = SamplingOptions(seed=1)
    state = {**Sampler(options).state(), "step": 0, "counts": {"9999999": 1.0}}
    with pytest.raises(ValueError, match="counts belong to a recipe"):
        Sampler.from_state(options, state)


def test_options_without_a_recipe_are_written_as_ever():
    options = SamplingOptions()
    assert set(options.plain()) == {"temperature", "top_p", "top_k", "min_p", "seed"}
    assert SamplingOptions.from_plain(options.plain()) == options


def test_a_recipe_survives_json():
    options = official().options
    assert SamplingOptions.from_plain(json.loads(json.dumps(options.plain()))) == options


def test_a_recipe_of_another_vocabulary_is_refused():
    with pytest.raises(SamplingError, match="speaks of 64 tokens or more, the model has 32"):
        sampler = official()
        sampler.follow(1)
        sampler.choose(np.zeros(32, np.float32))
    with pytest.raises(SamplingError, match="the model has 32"):
        Sampler(SamplingOptions(recipe=Recipe(end=32, end_every=1.0))).choose(np.zeros(32, np.float32))


@pytest.mark.parametrize(
    "setting",
    [
        {"penalty": -1.0},
        {"penalty_decay": 1.5},
        {"repetition": 0.5},
        {"repetition_most": 0.5},
        {"window": -1},
        {"end": -1},
        {"end_from": math.nan},
        {"end_every": -1.0},
        {"biases": ((-1, 1.0),)},
        {"biases": ((1, math.inf),)},
    ],
)
def test_a_recipe_out_of_range_is_refused_by_name(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} must be"):
        Recipe(**setting)
