"""Batches hold what the order says, and depend on nothing but seed and step, whatever the number of processes."""

import numpy as np
import pytest
import torch

from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.carrying import Carried
from rwkv_music_training.learning.config import Data
from rwkv_music_training.learning.packing import LENGTH_MULTIPLE, Batch, Packed, pack

LENGTHS = (5, 90, 50, 7, 300, 2, 64, 33)
DATA = Data(tokens_per_step=128, pieces=2, window=64)
LANES = Data(tokens_per_step=128, pieces=2, window=32, carry=True)


@pytest.fixture(scope="module")
def documents() -> Listed:
    """Every id is the number of its document, times a thousand, and its place."""
    return Listed([1000 * number + np.arange(length) for number, length in enumerate(LENGTHS)], list("aabbabba"))


def predicted(batches: list[Batch]) -> list[int]:
    """The ids that some batches predict."""
    return [int(target) for batch in batches for target in batch.targets[batch.counted]]


def everything(length_of_each: tuple[int, ...]) -> list[int]:
    return [1000 * number + place for number, length in enumerate(length_of_each) for place in range(1, length)]


@pytest.mark.parametrize("batches", ["packed", "carried"])
def test_every_id_is_predicted_once_an_epoch(documents, batches):
    whole = Packed(documents, DATA, 1) if batches == "packed" else Carried(documents, LANES, 1)
    for epoch in range(3):
        steps = range(epoch * whole.per_epoch, (epoch + 1) * whole.per_epoch)
        assert sorted(predicted([batch for step in steps for batch in whole.at(step)])) == everything(LENGTHS)


@pytest.mark.parametrize("batches", [(Packed, DATA), (Carried, LANES)])
def test_a_step_depends_on_its_number_and_the_seed_only(documents, batches):
    kind, data = batches
    walked, fresh, other = kind(documents, data, 1), kind(documents, data, 1), kind(documents, data, 2)
    for step in range(9):
        walked.at(step)
    assert all(torch.equal(one.ids, two.ids) for one, two in zip(walked.at(9), fresh.at(9), strict=True))
    assert any(predicted(other.at(step)) != predicted(fresh.at(step)) for step in range(3))


@pytest.mark.parametrize("batches", [(Packed, DATA), (Carried, LANES)])
def test_two_processes_share_the_micro_batches_of_one(documents, batches):
    kind, data = batches
    whole = kind(documents, data, 1)
    for step in range(3):
        shared = sorted(
            (batch for process in (0, 1) for batch in whole.at(step, process, 2)), key=lambda one: one.number
        )
        assert [predicted([one]) for one in shared] == [predicted([one]) for one in whole.at(step)]


def test_packed_documents_stand_between_their_bounds_and_know_their_numbers():
    batch = pack([np.array([1, 2, 3]), np.array([4, 5])], [7, 9])
    assert batch.cu_seqlens.tolist() == [0, 2, 3, LENGTH_MULTIPLE]
    assert batch.members.tolist() == [7, 9, -1]
    assert batch.ids[0, :3].tolist() == [1, 2, 4] and batch.targets[0, :3].tolist() == [2, 3, 5]
    assert batch.tokens == 3 and batch.counted[0, :3].all()


def test_a_row_that_is_full_has_nothing_to_fill_up():
    batch = pack([np.arange(LENGTH_MULTIPLE + 1)])
    assert batch.cu_seqlens.tolist() == [0, LENGTH_MULTIPLE] and batch.members.tolist() == [0]


def test_little_is_filled_up():
    chance = np.random.default_rng(0)
    documents = Listed([np.zeros(length, dtype=np.int64) for length in chance.integers(100, 400, 300)])
    packed = Packed(documents, Data(tokens_per_step=4096, pieces=4), 1)
    batches = [batch for step in range(packed.per_epoch) for batch in packed.at(step)]
    positions = sum(batch.ids.numel() for batch in batches)
    assert sum(batch.tokens for batch in batches) / positions > 0.98
    sizes = [sum(batch.tokens for batch in packed.at(step)) for step in range(packed.per_epoch)]
    assert max(sizes) < 1.15 * 4096 and min(sizes) > 0.85 * 4096


def test_lanes_go_on_with_the_next_window_of_the_same_document(documents):
    carried = Carried(documents, LANES, 1)
    for step in range(1, carried.per_epoch):
        for before, after in zip(carried.at(step - 1), carried.at(step), strict=True):
            assert before.lanes is not None and after.lanes is not None
            for lane in range(len(after.lanes.numbers)):
                if not after.lanes.goes_on[lane]:
                    continue
                row = slice(lane * LANES.window, (lane + 1) * LANES.window)
                assert after.ids[0, row][0] == before.targets[0, row][-1]
                assert after.members[after.lanes.first[lane]] == before.members[before.lanes.last[lane]]


def test_an_epoch_begins_with_nothing_to_go_on_with(documents):
    carried = Carried(documents, LANES, 1)
    for epoch in range(2):
        assert not any(batch.lanes.goes_on.any() for batch in carried.at(epoch * carried.per_epoch) if batch.lanes)


@pytest.mark.parametrize("change", [-3, 3])
def test_a_document_that_a_reading_makes_longer_is_cut_on_a_lane_and_a_shorter_one_filled_up(change):
    def other_length(ids: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        return np.arange(len(ids) + change)

    carried = Carried(Listed([np.arange(20)] * 5, augment=other_length), LANES, 1)
    batches = [batch for step in range(carried.per_epoch) for batch in carried.at(step)]
    assert sum(batch.tokens for batch in batches) == 5 * (19 + min(0, change))


def test_documents_with_nothing_to_predict_are_never_read():
    packed = Packed(Listed([np.array([2]), np.array([2, 3])]), DATA, 1)
    assert predicted(packed.at(0)) == [3]
    with pytest.raises(ValueError, match="nothing to read"):
        Packed(Listed([np.array([2])]), DATA, 1)
