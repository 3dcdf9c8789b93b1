"""The baseline's probabilities are those of the formula, and a distribution over all ids."""

import math
from collections import Counter

import numpy as np
import pytest

from rwkv_music_training.judging.ngrams import NgramModel, discounts

VOCABULARY = 5


@pytest.fixture
def documents() -> list[np.ndarray]:
    chance = np.random.default_rng(3)
    return [np.concatenate([[0], chance.choice([1, 2, 2, 3], size=length)]) for length in (9, 1, 30, 17)]


def by_the_book(documents: list[np.ndarray], order: int, context: tuple[int, ...], word: int) -> float:
    """Interpolated modified Kneser-Ney, looked up gram by gram."""
    grams = []
    for ids in documents:
        row = [VOCABULARY] * (order - 2) + [int(one) for one in ids]
        first = order - 1 if order > 1 else 1
        grams += [tuple(row[at - order + 1 : at + 1]) for at in range(first, len(row))]
    counts = {order: Counter(grams)}
    for size in reversed(range(1, order)):
        counts[size] = Counter(gram[1:] for gram in counts[size + 1])
    found = 1 / VOCABULARY
    for size in range(1, order + 1):
        history = context[len(context) - size + 1 :]
        held = {gram: count for gram, count in counts[size].items() if gram[:-1] == history}
        if not held:
            break
        taken = discounts(np.array(list(counts[size].values())))
        total = sum(held.values())
        own = held.get((*history, word), 0)
        left = sum(taken[min(3, count)] for count in held.values()) / total
        found = (own - taken[min(3, own)]) / total + left * found
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_formula(documents, order):
    model = NgramModel(documents, VOCABULARY, order)
    asked = np.array([0, 2, 2, 4, 1, 3, 2])
    padded = [VOCABULARY] * order + asked.tolist()
    for place, found in enumerate(model.probabilities(asked), start=1):
        context = tuple(padded[place + order - (order - 1) : place + order])
        assert found == pytest.approx(by_the_book(documents, order, context, int(asked[place])), abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_whole_distributions_add_up_and_say_the_same(documents, order):
    model = NgramModel(documents, VOCABULARY, order)
    asked = np.array([0, 1, 3, 3, 2, 4, 2])
    whole = model.distributions(asked)
    assert whole.shape == (6, VOCABULARY) and (whole > 0).all()
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(whole[np.arange(6), asked[1:]], model.probabilities(asked), atol=1e-12)
    np.testing.assert_allclose(model.following(asked[None, :4])[0], whole[3], atol=1e-12)
    np.testing.assert_allclose(model.following(asked[None, :1])[0], whole[0], atol=1e-12)


def test_longer_contexts_predict_what_repeats():
    pattern = np.array([0, *[1, 2, 3, 4] * 30])
    costs = [-np.log2(NgramModel([pattern], 5, order).probabilities(pattern)).mean() for order in (1, 2, 3)]
    assert costs[0] == pytest.approx(2, abs=0.1)
    assert costs[1] < 0.5 and costs[1] < costs[0]


def test_discounts_come_from_the_counts_of_counts():
    counts = np.repeat([1, 2, 3, 4], [40, 20, 10, 5])
    base = 40 / 80
    expected = [0, 1 - 2 * base * 20 / 40, 2 - 3 * base * 10 / 20, 3 - 4 * base * 5 / 10]
    np.testing.assert_allclose(discounts(counts), expected)


def test_something_is_always_left_for_what_was_never_seen():
    # No id came once or twice only, so nothing is known of how often new ones come.
    model = NgramModel([np.array([0, *[1, 2, 3] * 9])], 5, 2)
    assert (model.distributions(np.array([0, 1, 2, 4, 4])) > 0).all()


def test_an_order_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 or more, not 0"):
        NgramModel([np.array([0, 1])], 5, 0)
    assert math.isclose(NgramModel([np.array([0, 1])], 5, 3).distributions(np.array([0, 1])).sum(), 1)
