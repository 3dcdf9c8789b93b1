"""How alike the most alike documents of a corpus are that stand in different splits, by an exact search for all pairs.

    python benchmarks/near_duplicates.py CORPUS

No hashing: the runs of eight intervals of each melody are compared as they are, every document that is held out with every
other one. Exits with 1 if two of them have a Jaccard index of 0.7 or more, and tells which.
"""

import sys
import time
from pathlib import Path

import numpy as np

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.words_to_performance import words_to_performance
from rwkv_music_training.corpus.codes import ABC_CODE, NOTES_CODE, words_of
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.fingerprints import RUN, WIDEST, melody
from rwkv_music_training.corpus.sounding import Sounding, sounding_performance, sounding_score

NEAR = 0.7
TRAIN, HELD_OUT = ("train",), ("valid", "test")


def sounding(ids: np.ndarray, code: str) -> Sounding:
    """What a document sounds like."""
    if code == ABC_CODE:
        return sounding_score(read_abc(AbcTokenizer().decode(ids.tolist())))
    if code == NOTES_CODE:
        return sounding_performance(NoteTokenizer().decode(ids))
    return sounding_performance(words_to_performance(ids[1:-1].tolist(), words_of(code)))


def runs(ids: np.ndarray, code: str) -> frozenset[bytes]:
    """The runs of RUN intervals of a document's melody."""
    steps = np.clip(np.diff(melody(sounding(ids, code))), -WIDEST, WIDEST).astype(np.int8)
    if len(steps) < RUN:
        return frozenset([steps.tobytes()])
    return frozenset(run.tobytes() for run in np.lib.stride_tricks.sliding_window_view(steps, RUN))


def main(folder: Path) -> int:
    """0, or 1 where something near stands on both sides."""
    began = time.monotonic()
    corpus = Corpus.open(folder)
    code = corpus.manifest.tokenizer
    sets: list[frozenset[bytes]] = []
    splits: list[str] = []
    names: list[str] = []
    for split in (*TRAIN, *HELD_OUT):
        documents = corpus.split(split)
        sets += [runs(documents.read(number), code) for number in range(len(documents))]
        splits += [split] * len(documents)
        names += documents.column("name")
    numbers = {run: number for number, run in enumerate(frozenset().union(*sets))}
    told = [np.fromiter((numbers[run] for run in found), dtype=np.int64, count=len(found)) for found in sets]
    sizes = np.array([len(found) for found in told])
    flat = np.concatenate(told)
    # The owners of a run, one run after another.
    owners = np.repeat(np.arange(len(told)), sizes)[np.argsort(flat, kind="stable")]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=len(numbers)))])
    split_of = np.array(splits)
    alike: list[tuple[float, int, int]] = []
    for number in np.flatnonzero(~np.isin(split_of, TRAIN)).tolist():
        sharing = np.concatenate([owners[bounds[run] : bounds[run + 1]] for run in told[number].tolist()])
        both = np.bincount(sharing, minlength=len(told)) * (split_of != split_of[number])
        others = np.flatnonzero(both)
        index = both[others] / (sizes[number] + sizes[others] - both[others])
        alike += zip(index.tolist(), [number] * len(others), others.tolist(), strict=True)
    alike.sort(reverse=True)
    near = sum(index >= NEAR for index, _, _ in alike)
    print(
        f"{len(sets):,} documents, {len(alike):,} pairs across splits that share a run, {time.monotonic() - began:.0f} s"
    )
    for index, one, other in alike[: max(3, near)]:
        print(f"{index:.3f}  {splits[one]} {names[one]}  {splits[other]} {names[other]}")
    print(f"{near} pairs across splits with a Jaccard index of {NEAR} or more")
    return int(near > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
