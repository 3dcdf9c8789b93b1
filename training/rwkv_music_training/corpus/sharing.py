"""Who comes into which split: duplicates go, near-duplicates stay together, and nothing held out is nearly learnt."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.clusters import Clusters, first_of

SPLITS = TRAIN, VALID, TEST = ("train", "valid", "test")
By = Literal["near", "groups", "given"]
# A cluster with more than this share of all documents is learnt from, wherever chance would put it.
LARGEST_HELD_OUT = 0.02
# Of fewer clusters than this one may not hold so much of all.
FEW = 50


@dataclass(frozen=True)
class Sharing:
    """How documents are shared out."""

    # "near": by clusters of near-duplicates; "groups": those of an index that share a group stay together as well;
    # "given": as the index says, and what is near to something held out is not learnt from.
    by: By = "near"
    # The shares of clusters that are held out.
    valid: float = 0.04
    test: float = 0.04
    seed: int = 1
    # From this Jaccard index of their melodies on, two documents are nearly the same.
    near: float = 0.7
    # Leave out all near-duplicates but the first.
    drop_near: bool = False


@dataclass(frozen=True, eq=False)
class Shared:
    """What became of documents."""

    # (D,) the place in SPLITS of each, -1 of those left out.
    split: np.ndarray
    # (D,): the least member of its cluster.
    cluster: np.ndarray
    # Of those left out: the reason, and the number of the one that it is the same as.
    left_out: dict[int, tuple[str, int]]


def ladder(rungs: Sequence[np.ndarray], order: np.ndarray) -> dict[int, tuple[str, int]]:
    """The documents that are the same as an earlier one in `order` by the digests of any rung, each (D,); and as which."""
    left_out: dict[int, tuple[str, int]] = {}
    for reason, digests in zip((items.SAME_BYTES, items.SAME_NOTES, items.SAME_SHAPE), rungs, strict=True):
        kept = order[[number not in left_out for number in order.tolist()]]
        firsts = kept[first_of(digests[kept], np.arange(len(kept)))]
        for number, first in zip(kept.tolist(), firsts.tolist(), strict=True):
            if number != first:
                left_out[number] = (reason, first)
    return left_out


def given_order(given: Sequence[str], sharing: Sharing) -> np.ndarray:
    """The order in which duplicates are met: of two the earlier stays, but what an index holds out comes before all."""
    if sharing.by != "given":
        return np.arange(len(given))
    return np.argsort([name not in (VALID, TEST) for name in given], kind="stable")


def share(
    kin: Clusters, same: Clusters, given: Sequence[str], groups: Sequence[str], digests: np.ndarray, sharing: Sharing
) -> Shared:
    """Share out documents by their clusters; all (D,): the split and the group an index gives, the digests of notes."""
    count = len(given)
    left_out: dict[int, tuple[str, int]] = {}
    if sharing.drop_near:
        order = given_order(given, sharing)
        firsts = order[first_of(same.roots()[order], np.arange(count))] if count else order
        for number, first in zip(order.tolist(), firsts.tolist(), strict=True):
            if number != first:
                left_out[number] = (items.NEAR_ANOTHER, first)
    if sharing.by == "groups":
        _join_groups(kin, groups)
    cluster = kin.roots()
    split = _given(cluster, given, left_out) if sharing.by == "given" else _drawn(cluster, digests, sharing)
    split[list(left_out)] = -1
    return Shared(split, cluster, left_out)


def _join_groups(kin: Clusters, groups: Sequence[str]) -> None:
    firsts: dict[str, int] = {}
    for number, group in enumerate(groups):
        if group:
            kin.join(firsts.setdefault(group, number), number)


def _given(cluster: np.ndarray, given: Sequence[str], left_out: dict[int, tuple[str, int]]) -> np.ndarray:
    """The splits that are given, train where none is; of clusters with something held out, the rest is left out."""
    split = np.array([SPLITS.index(name) if name in SPLITS else 0 for name in given], dtype=np.int64)
    held: dict[int, tuple[int, int]] = {}
    for place in (2, 1):
        for number in np.flatnonzero(split == place).tolist():
            held.setdefault(int(cluster[number]), (place, number))
    for number, root in enumerate(cluster.tolist()):
        place, first = held.get(root, (split[number], number))
        if split[number] != place and number not in left_out:
            left_out[number] = (items.NEAR_HELD_OUT, first)
    return split


def _drawn(cluster: np.ndarray, digests: np.ndarray, sharing: Sharing) -> np.ndarray:
    """Splits by chance, which a cluster's least digest draws, so that more files do not move the ones there are."""
    roots, inverse, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    least = digests[np.lexsort((digests, inverse))][np.cumsum(sizes) - sizes] if len(roots) else digests
    draws = np.array([_draw(digest, sharing.seed) for digest in least.tolist()])
    split = np.zeros(len(roots), dtype=np.int64)
    bound = LARGEST_HELD_OUT * len(cluster) if len(roots) >= FEW else len(cluster) / 2
    small = np.flatnonzero(sizes <= max(1, bound))
    held = small[np.argsort(draws[small], kind="stable")]
    split[held[draws[held] < sharing.valid + sharing.test]] = 2
    split[held[draws[held] < sharing.valid]] = 1
    # However few there are, some music must be there to judge by.
    if sharing.valid and not (split == 1).any() and len(roots) > 1 and len(held):
        split[held[0]] = 1
    return split[inverse]


def _draw(digest: bytes, seed: int) -> float:
    """A number in 0..1 that depends on a digest and the seed alone."""
    hashed = hashlib.blake2b(digest, digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(hashed, "big") / 2**64
