"""The music of a fine-tuning: a small corpus, some of whose pieces are held out to judge the others."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rwkv_music_training.corpus.augment import Augmentation
from rwkv_music_training.corpus.build import build, here
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.corpus.filters import Filters
from rwkv_music_training.corpus.preparing import Preparation
from rwkv_music_training.corpus.reading import Taking
from rwkv_music_training.corpus.recipe import Recipe
from rwkv_music_training.corpus.sharing import Sharing

# Whose music it is is the musician's to know, so licences are not asked for, and little is too odd.
FILTERS = Filters(fewest_notes=8, silence=0.0, wrong_bars=0.5)
TIERS = ("A", "B", "C")
# A tenth is held out, so many pieces at least and at most; of fewer than FEW one piece.
SHARE, LEAST, MOST, FEW = 0.1, 2, 400, 5


class Chosen:
    """Some of other documents."""

    def __init__(self, documents: Documents, indices: np.ndarray):
        """indices: (D,), which of them."""
        self._documents = documents
        self.indices = indices
        self.lengths = documents.lengths[indices]
        self.sources = documents.sources[indices]

    def read(self, index: int, draw: np.random.Generator | None = None) -> np.ndarray:
        """See `Documents`."""
        return self._documents.read(int(self.indices[index]), draw)


@dataclass(frozen=True, eq=False)
class Material:
    """What is learnt from, and what judges it."""

    corpus: Corpus
    train: Chosen
    held: Chosen

    @property
    def judged_by_itself(self) -> bool:
        """There was one piece only."""
        return bool(np.isin(self.held.indices, self.train.indices).any())

    @property
    def names(self) -> list[str]:
        """Names of the pieces that are held out."""
        told = self.corpus.table("train", ["name"])["name"].to_pylist()
        return [told[index] for index in self.held.indices.tolist()]


def build_corpus(
    places: Sequence[Path], folder: Path, code: str, *, processes: int, say: Callable[[str], None]
) -> Corpus:
    """Read folders and archives of music into a corpus in `folder`, all of it to learn from. Raises CorpusError."""
    recipe = Recipe(Taking(TIERS), Preparation(code, "auto", FILTERS), Sharing(valid=0.0, test=0.0))
    return build(places, folder, recipe, here(processes), say=say)


def divide(corpus: Corpus, augmentation: Augmentation, held_out: int, seed: int) -> Material:
    """What is learnt from and what judges. held_out: pieces, 0 for as many as are usual."""
    documents = corpus.split("train", augmentation)
    clusters = np.array(corpus.table("train", ["cluster"])["cluster"].to_pylist(), dtype=np.int64)
    train, held = hold_out(clusters, held_out or usual_count(len(clusters)), seed)
    return Material(corpus, Chosen(documents, train), Chosen(documents, held))


def usual_count(documents: int) -> int:
    """How many of so many pieces are held out."""
    if documents < FEW:
        return 1
    return min(MOST, max(LEAST, round(SHARE * documents)))


def hold_out(clusters: np.ndarray, wanted: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which documents are learnt from, and about `wanted` that judge; (D,): the cluster of each.

    Whole clusters of near-duplicates are held out, so that nothing is judged by what is nearly learnt; where all is one
    cluster, its last document is. The only document there is does both.
    """
    roots, sizes = np.unique(clusters, return_counts=True)
    drawn = [hashlib.blake2b(b"%d %d" % (seed, root), digest_size=8).digest() for root in roots.tolist()]
    held: list[int] = []
    room = min(wanted, len(clusters) // 2)
    for place in sorted(range(len(roots)), key=lambda place: drawn[place]):
        if len(held) == room:
            break
        if len(held) + sizes[place] <= room:
            held += np.flatnonzero(clusters == roots[place]).tolist()
    every = np.arange(len(clusters))
    if not held:
        held = [len(clusters) - 1]
    train = np.setdiff1d(every, held)
    return (train if len(train) else every), np.array(sorted(held))
