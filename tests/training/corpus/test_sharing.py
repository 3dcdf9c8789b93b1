"""Duplicates go, clusters stay whole, and chance puts a document where it was before."""

import numpy as np
import pytest

from rwkv_music_training.corpus import clusters as module
from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.clusters import Clusters, Sketches, near_clusters
from rwkv_music_training.corpus.fingerprints import bands, jaccard
from rwkv_music_training.corpus.sharing import TEST, TRAIN, VALID, Sharing, given_order, ladder, share

NOTHING = [""] * 300


def digests(count: int, seed: int = 0) -> np.ndarray:
    return np.array([np.random.default_rng([seed, n]).bytes(16) for n in range(count)], dtype="S16")


def sketches(sets: list[np.ndarray]) -> Sketches:
    bounds = np.concatenate([[0], np.cumsum(list(map(len, sets)))])
    return Sketches(bands(sets).T, np.concatenate(sets), bounds, np.arange(len(sets)))


def families(count: int, size: int = 200) -> list[np.ndarray]:
    """Sets in families of three: members share from half to nearly all."""
    chance = np.random.default_rng(7)
    sets = []
    for _ in range(count):
        first = chance.integers(0, 1 << 32, size)
        for share_of in (1.0, chance.uniform(0.75, 0.99), chance.uniform(0.5, 0.99)):
            kept = first[: int(size * share_of)]
            sets.append(np.unique(np.append(kept, chance.integers(0, 1 << 32, size - len(kept)))).astype(np.uint32))
    return sets


def test_of_the_same_the_first_stays():
    same_content, same_notes, same_shape = (
        np.array(list(text), dtype="S16") for text in ("abcdea", "uvwuxu", "112345")
    )
    assert ladder((same_content, same_notes, same_shape), np.arange(6)) == {
        5: (items.SAME_BYTES, 0),
        3: (items.SAME_NOTES, 0),
        1: (items.SAME_SHAPE, 0),
    }


def test_what_is_held_out_stays_before_what_is_learnt():
    order = given_order(["train", "", "valid", "test"], Sharing(by="given"))
    assert order.tolist() == [2, 3, 0, 1]
    same = np.array([b"a", b"b", b"a", b"c"], dtype="S16")
    assert ladder((same, digests(4), digests(4, 1)), order) == {0: (items.SAME_BYTES, 2)}


def test_no_pair_that_is_near_is_in_two_clusters():
    sets = families(80)
    same, kin = near_clusters(sketches(sets), 0.7)
    roots = same.roots()
    for one in range(len(sets)):
        for other in range(one):
            if jaccard(sets[one], sets[other]) >= 0.7:
                assert roots[one] == roots[other]
    assert len(set(roots.tolist())) > 80 and kin.roots().tolist() == roots.tolist()


def test_a_crowd_is_kin_without_being_compared(monkeypatch):
    monkeypatch.setattr(module, "MOST_COMPARED", 2)
    sets = [np.array([1, 2, 3, 4, 5], dtype=np.uint32)] * 3
    same, kin = near_clusters(sketches(sets), 0.7)
    assert same.roots().tolist() == [0, 1, 2] and kin.roots().tolist() == [0, 0, 0]


def test_clusters_are_not_parted_and_all_splits_get_some():
    count = 300
    kin = Clusters(count)
    for number in range(1, count):
        if number % 3:
            kin.join(number, number - 1)
    found = share(kin, Clusters(count), NOTHING, NOTHING, digests(count), Sharing(valid=0.2, test=0.2))
    by_cluster = found.split.reshape(-1, 3)
    assert (by_cluster == by_cluster[:, :1]).all() and not found.left_out
    assert [int((by_cluster[:, 0] == place).sum()) for place in range(3)] == pytest.approx([60, 20, 20], abs=8)


def test_more_documents_move_none():
    few, many = (share(Clusters(n), Clusters(n), NOTHING[:n], NOTHING[:n], digests(n), Sharing()) for n in (100, 300))
    assert many.split[:100].tolist() == few.split.tolist()


def test_some_music_is_there_to_judge_by_however_little_there_is():
    for count in (2, 3, 10):
        found = share(Clusters(count), Clusters(count), NOTHING[:count], NOTHING[:count], digests(count), Sharing())
        assert (found.split == 1).sum() >= 1 and (found.split == 0).sum() >= 1
    one = share(Clusters(1), Clusters(1), [""], [""], digests(1), Sharing())
    assert one.split.tolist() == [0]


def test_a_crowd_is_learnt_from():
    count = 200
    kin = Clusters(count)
    for number in range(1, 50):
        kin.join(0, number)
    for seed in range(5):
        found = share(kin, Clusters(count), NOTHING[:count], NOTHING[:count], digests(count, seed), Sharing(valid=0.5))
        assert found.split[:50].tolist() == [0] * 50


def test_groups_stay_together_if_that_is_wanted():
    groups = [f"work {number // 10}" for number in range(300)]
    apart, together = (
        share(Clusters(300), Clusters(300), NOTHING, groups, digests(300), Sharing(by=by, valid=0.3)).split.reshape(
            -1, 10
        )
        for by in ("near", "groups")
    )
    assert (together == together[:, :1]).all() and not (apart == apart[:, :1]).all()


def test_near_duplicates_are_left_out_if_that_is_wanted():
    same = Clusters(4)
    same.join(1, 3)
    found = share(same, same, NOTHING[:4], NOTHING[:4], digests(4), Sharing(drop_near=True))
    assert found.left_out == {3: (items.NEAR_ANOTHER, 1)} and found.split[3] == -1


def test_given_splits_stay_and_nothing_near_to_them_is_learnt():
    given = [TRAIN, VALID, TEST, TRAIN, "", VALID]
    kin = Clusters(6)
    kin.join(0, 1)
    kin.join(2, 5)
    found = share(kin, Clusters(6), given, NOTHING[:6], digests(6), Sharing(by="given"))
    assert found.left_out == {0: (items.NEAR_HELD_OUT, 1), 5: (items.NEAR_HELD_OUT, 2)}
    assert found.split.tolist() == [-1, 1, 2, 0, 0, -1]
