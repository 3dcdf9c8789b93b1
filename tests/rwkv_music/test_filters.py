"""The formula of the draw: what each filter keeps, and that the native draw takes the same token for the same number."""

import math

import numpy as np
import pytest

from rwkv_music import filters
from rwkv_music.filters import adjust, keep_min_p, keep_top_k, keep_top_p, pick, temper
from rwkv_music_kernels.cpu.draw import Draw

NOBODY, NOTHING = np.zeros(0, np.int64), np.zeros(0)


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


def test_a_penalty_takes_its_share_for_each_count_and_a_bias_adds_what_it_is():
    counts, biased, biases = np.array([0.0, 2.0]), np.array([3, 3]), np.array([1.0, 0.5])
    assert adjust(np.zeros(4, np.float32), counts, 0.5, biased, biases).tolist() == [0, -1, 0, 1.5]


def test_what_repeats_is_divided_or_multiplied_by_a_factor_of_its_count():
    logits = np.array([2, -2, 3, 1, -math.inf], np.float32)
    changed = filters.repeated(logits, np.array([1.0, 2.0, 9.0, 0.0, 1.0]), 2.0, 4.0)
    assert changed.tolist() == [1, -8, 0.75, 1, -math.inf]
    assert filters.repeated(logits, np.ones(2), 1.0, 1.0).tolist() == logits.tolist()


def test_the_order_of_cuts_decides_how_many_stay():
    # 0.2 of 0.5 + 0.2 + 0.1 are above 0.8 of them, but 0.5 + 0.2 + 0.1 are just 0.8 of all.
    logits = log(0.5, 0.2, 0.11, *[0.19 / 20] * 20)
    settings = np.array([0.0, 1.0, 0.8, 0.0, 1.0, 1.0])
    uniform = math.nextafter(1, 0)
    assert filters.draw(logits, NOTHING, NOBODY, NOTHING, settings, 3, False, uniform) == 1
    assert filters.draw(logits, NOTHING, NOBODY, NOTHING, settings, 3, True, uniform) == 2


def some_logits(rng: np.random.Generator, kind: str, vocabulary: int) -> np.ndarray:
    logits = rng.normal(size=vocabulary) * rng.choice([0.01, 1.0, 3.0, 30.0])
    if kind == "ties":
        logits = logits.round()
    if kind == "equal":
        logits[:] = 2.0
    if kind == "forbidden":
        logits[rng.random(vocabulary) < 0.9] = -np.inf
        logits[rng.integers(vocabulary)] = 1.0
    if kind == "far":
        logits *= 1e35
    return logits.astype(np.float32)


@pytest.mark.parametrize("vocabulary", [1, 2, 33, 128, 1000, 20096])
@pytest.mark.parametrize("kind", ["spread", "ties", "equal", "forbidden", "far"])
def test_the_native_draw_takes_the_token_of_the_formula(kind, vocabulary):
    rng = np.random.default_rng([vocabulary, len(kind)])
    native = Draw()
    for _ in range(10 if vocabulary > 10_000 else 100):
        known = rng.integers(vocabulary + 1)
        biased = rng.integers(vocabulary, size=rng.integers(4))
        settings = np.array(
            [
                rng.choice([0.0, 0.5]),
                rng.choice([0.0, 1e-300, 0.3, 1.0, 2.0], p=[0.1, 0.1, 0.2, 0.4, 0.2]),
                rng.choice([1.0, 0.95, 0.8, 0.3, 1e-6]),
                rng.choice([0.0, 0.0, 0.05, 1.0]),
                *(rng.choice([1.0, 1.1, 2.0]), rng.choice([1.0, 1.5, 4.0])),
            ]
        )
        given = (
            some_logits(rng, kind, vocabulary),
            3 * rng.random(known),
            biased,
            rng.normal(size=biased.size),
            settings,
            int(rng.choice([0, 1, 3, 8, 64, 500, 30_000])),
            bool(rng.integers(2)),
            rng.random(),
        )
        assert native(*given) == filters.draw(*given), given[4:]


@pytest.mark.parametrize("odd", [math.nan, -math.nan, math.inf])
def test_the_native_draw_finds_one_number_that_is_none(odd):
    logits = np.zeros(100, np.float32)
    logits[71] = odd
    given = logits, NOTHING, NOBODY, NOTHING, np.array([0.0, 1.0, 0.9, 0.0, 1.0, 1.0]), 5, False, 0.5
    assert Draw()(*given) == filters.draw(*given) == -1


def test_the_native_draw_takes_logits_as_they_lie():
    wide = np.random.default_rng(0).normal(size=(50, 2))
    given = NOTHING, NOBODY, NOTHING, np.array([0.0, 1.0, 0.9, 0.0, 1.0, 1.0]), 0, False, 0.5
    assert Draw()(wide[:, 1], *given) == filters.draw(wide[:, 1].astype(np.float32), *given)
