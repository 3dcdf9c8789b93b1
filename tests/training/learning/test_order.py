"""The order of documents is a function of seed and step: every document once an epoch, whatever was read before."""

import numpy as np
import pytest

from rwkv_music_training.learning.order import Order, even_cuts, key_of, shuffled

LENGTHS = np.array([5, 100, 50, 7, 300, 2, 1, 64])
SOURCES = np.array(list("aabbabba"))


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 1000])
def test_a_shuffling_is_a_bijection_that_the_key_chooses(count):
    one, other = (shuffled(np.arange(count), count, key_of(seed)) for seed in (1, 2))
    assert sorted(one) == sorted(other) == list(range(count))
    assert count < 10 or (one != other).any() and (one != np.arange(count)).any()


def test_a_place_of_a_shuffling_can_be_asked_for_alone():
    whole = shuffled(np.arange(1000), 1000, key_of(7))
    assert shuffled(np.array([321]), 1000, key_of(7))[0] == whole[321]


def test_the_order_is_the_same_on_every_machine():
    assert shuffled(np.arange(8), 8, key_of(1, 2)).tolist() == [4, 6, 1, 5, 0, 3, 7, 2]


def test_every_position_of_every_document_is_in_an_epoch_once():
    order = Order(LENGTHS, SOURCES, seed=3)
    for epoch in range(4):
        windows = order.windows(epoch, 64)
        assert (windows.positions >= 1).all() and (windows.end - windows.begin <= 64).all()
        for document, length in enumerate(LENGTHS):
            own = windows.document == document
            predicted = sorted(
                place
                for begin, end in zip(windows.begin[own], windows.end[own], strict=True)
                for place in range(begin + 1, end)
            )
            assert predicted == list(range(1, length))


def test_epochs_differ_in_their_order_and_in_their_cuts():
    order = Order(LENGTHS, SOURCES, seed=3)
    first, second = order.windows(0, 64), order.windows(1, 64)
    assert first.document.tolist() != second.document.tolist()
    cuts = [sorted(windows.begin[windows.document == 4]) for windows in (first, second)]
    assert cuts[0] != cuts[1]


def test_sources_are_read_evenly_at_power_0_and_as_they_come_at_power_1():
    is_a = np.equal(SOURCES, "a")
    share = LENGTHS[is_a].sum() / LENGTHS.sum()
    for power, expected in ((0.0, 0.5), (1.0, share)):
        order = Order(LENGTHS, SOURCES, seed=1, power=power)
        read = np.concatenate([order.documents(epoch)[0] for epoch in range(20)])
        assert LENGTHS[read][is_a[read]].sum() / LENGTHS[read].sum() == pytest.approx(expected, abs=0.05)


def test_a_source_that_is_read_more_goes_through_all_its_documents_before_any_comes_again():
    order = Order(LENGTHS, SOURCES, seed=1, power=0.0)
    seen: dict[int, list[int]] = {}
    for epoch in range(6):
        for document, cycle in zip(*order.documents(epoch), strict=True):
            seen.setdefault(int(cycle), []).append(int(document))
    small = {2, 3, 5}
    for cycle in range(3):
        assert sorted(document for document in seen[cycle] if document in small) == sorted(small)


def test_even_cuts_give_about_as_many_positions_each():
    positions = np.array([10, 1, 1, 8, 30, 10])
    cuts = even_cuts(positions, 3)
    assert cuts[0] == 0 and cuts[-1] == 6 and (np.diff(cuts) >= 0).all()
    assert [positions[a:b].sum() for a, b in zip(cuts[:-1], cuts[1:], strict=True)] == [20, 30, 10]
