"""The pair of files that RWKV-LM and Megatron read, NAME.bin and NAME.idx, made of a split and made into a corpus.

NAME.bin holds ids one document after another. NAME.idx, all of it low byte first: nine bytes "MMIDIDX", version 1 (u64), the
type of the ids (u8), the number of sequences and of document bounds (u64 each), lengths (i32) and byte offsets (i64) of the
sequences, and the number of the sequence with which each document begins, and at last their number (i64).
Source of the form: Megatron-LM, megatron/core/datasets/indexed_dataset.py.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rwkv_music.files import refuse_overwriting, refuse_replacing, whole_folder
from rwkv_music_training.corpus.clusters import Clusters, first_of
from rwkv_music_training.corpus.codes import Code, find_code
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.fingerprints import DIGEST_BYTES
from rwkv_music_training.corpus.items import TOLD
from rwkv_music_training.corpus.shards import (
    MADE,
    META,
    REJECTS,
    close_shard,
    cut,
    heading,
    paths_of,
    write_manifest,
    write_table,
)
from rwkv_music_training.corpus.sharing import SPLITS, Sharing, share

MAGIC = b"MMIDIDX\x00\x00"
HEAD = struct.Struct("<QBQQ")
# The types of ids by their number; there are two more, of numbers that are no ids.
TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
UINT16, INT32 = 8, 4


@dataclass(frozen=True, eq=False)
class Binidx:
    """An open pair of files."""

    # (n,), mapped from disk.
    ids: np.ndarray
    # (D + 1,): where documents begin, and the last ends.
    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (
            self.ids[begin:end] for begin, end in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True)
        )


def pair_of(path: Path) -> tuple[Path, Path]:
    """The .bin and the .idx of a name with or without one of these suffixes."""
    base = path.with_suffix("") if path.suffix in (".bin", ".idx") else path
    return base.with_name(f"{base.name}.bin"), base.with_name(f"{base.name}.idx")


def open_binidx(path: Path) -> Binidx:
    """Open a pair of files. Raises CorpusError for what is none."""
    tokens, index = pair_of(path)
    try:
        told = index.read_bytes()
        if told[: len(MAGIC)] != MAGIC:
            raise CorpusError(f"{index}: no index of a binidx (it must begin with MMIDIDX)")
        version, kind, sequences, count = HEAD.unpack_from(told, len(MAGIC))
        if version != 1 or kind not in TYPES:
            raise CorpusError(f"{index}: version {version}, ids of type {kind}; read is version 1 with whole numbers")
        at = len(MAGIC) + HEAD.size
        lengths = np.frombuffer(told, "<i4", sequences, at)
        pointers = np.frombuffer(told, "<i8", sequences, at + 4 * sequences)
        documents = np.frombuffer(told, "<i8", count, at + 12 * sequences)
        ids = np.memmap(tokens, dtype=TYPES[kind], mode="r")
    except (OSError, ValueError, OverflowError, struct.error) as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{index}: cannot be read ({error})") from error
    return Binidx(ids, _bounds(index, ids, lengths, pointers, documents))


def _bounds(
    index: Path, ids: np.ndarray, lengths: np.ndarray, pointers: np.ndarray, documents: np.ndarray
) -> np.ndarray:
    """Where documents begin, of sequences that must lie one after another and fill the file. Raises CorpusError."""
    ends = np.concatenate([[0], np.cumsum(lengths.astype(np.int64))])
    in_order = (lengths >= 0).all() and np.array_equal(pointers, ends[:-1] * ids.dtype.itemsize)
    if not in_order or ends[-1] != len(ids):
        raise CorpusError(f"{index}: its sequences do not lie one after another in the .bin")
    rising = len(documents) and documents[0] == 0 and documents[-1] == len(lengths) and (np.diff(documents) >= 0).all()
    if not rising:
        raise CorpusError(f"{index}: its documents do not lie one after another")
    return ends[documents]


def export_binidx(corpus: Corpus, split: str, path: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write a split, a sequence a document with its begin and end; returns the two paths. Raises CorpusError, FileError."""
    tokens, index = pair_of(path)
    refuse_overwriting([tokens, index], force=force)
    documents = corpus.split(split)
    dtype = np.dtype("<u2" if corpus.manifest.vocabulary <= 1 << 16 else "<i4")
    asides = [file.with_name(f".{file.name}.part") for file in (tokens, index)]
    try:
        with asides[0].open("wb") as file:
            for number in range(len(documents)):
                file.write(documents.read(number).astype(dtype).tobytes())
        lengths = documents.lengths
        with asides[1].open("wb") as file:
            kind = UINT16 if dtype.itemsize == 2 else INT32
            file.write(MAGIC + HEAD.pack(1, kind, len(lengths), len(lengths) + 1))
            file.write(lengths.astype("<i4").tobytes())
            file.write(((np.cumsum(lengths) - lengths) * dtype.itemsize).astype("<i8").tobytes())
            file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())
        for aside, file in zip(asides, (tokens, index), strict=True):
            aside.replace(file)
    finally:
        for aside in asides:
            aside.unlink(missing_ok=True)
    return tokens, index


def import_binidx(path: Path, out: Path, code_name: str, sharing: Sharing, *, force: bool = False) -> Corpus:
    """Make a corpus of a pair of files whose ids are of a code. Raises CorpusError, FileError.

    Documents get the begin and the end of the code where they lack them, and lose separators (0) at their ends. They are
    taken as they are, neither filtered nor measured: notes and seconds are 0. The same document is in one split only.
    """
    refuse_replacing(out, *MADE, pair_of(path), force=force)
    code = find_code(code_name)
    pair = open_binidx(path)
    if len(pair.ids) and not 0 <= pair.ids.min() <= pair.ids.max() < code.vocabulary:
        raise CorpusError(f"{pair_of(path)[0]}: ids up to {pair.ids.max()}, and {code.name} has {code.vocabulary}")
    digests, lengths = _measured(pair, code)
    if not (lengths > 2).any():
        raise CorpusError(f"{pair_of(path)[1]}: there is no document in it")
    split = _share(digests, lengths, sharing)
    try:
        with whole_folder(out) as aside:
            _write(pair, code, aside, pair_of(path)[0].stem, split, lengths)
    except OSError as error:
        raise CorpusError(f"{error.filename or out}: {error.strerror or error}") from error
    return Corpus.open(out)


def _document(ids: np.ndarray, code: Code) -> np.ndarray:
    """A document between the begin and the end of its code."""
    edges = [0, code.begin, code.end]
    inside = np.flatnonzero(~np.isin(ids, edges))
    kept = ids[inside[0] : inside[-1] + 1] if len(inside) else ids[:0]
    return np.concatenate([[code.begin], kept, [code.end]]).astype(code.dtype)


def _measured(pair: Binidx, code: Code) -> tuple[np.ndarray, np.ndarray]:
    """The digest and the length of each document."""
    digests, lengths = [], []
    for ids in pair:
        document = _document(ids, code)
        digests.append(hashlib.blake2b(document.tobytes(), digest_size=DIGEST_BYTES).digest())
        lengths.append(len(document))
    return np.array(digests, dtype=f"S{DIGEST_BYTES}"), np.array(lengths, dtype=np.int64)


def _share(digests: np.ndarray, lengths: np.ndarray, sharing: Sharing) -> np.ndarray:
    """(D,): the place in SPLITS of each document, -1 for one without anything in it."""
    chosen = np.flatnonzero(lengths > 2)
    kin, same = (Clusters(len(chosen)) for _ in range(2))
    for number, first in enumerate(first_of(digests[chosen], np.arange(len(chosen))).tolist()):
        kin.join(number, first)
    nothing = [""] * len(chosen)
    split = np.full(len(lengths), -1)
    split[chosen] = share(kin, same, nothing, nothing, digests[chosen], sharing).split
    return split


def _write(pair: Binidx, code: Code, aside: Path, source: str, split: np.ndarray, lengths: np.ndarray) -> None:
    told, order = {}, []
    for place, name in enumerate(SPLITS):
        numbers = np.flatnonzero(split == place)
        order += numbers.tolist()
        (aside / name).mkdir()
        told[name] = []
        for shard, own in enumerate(cut(lengths[numbers])):
            with (aside / paths_of(name, shard)[0]).open("wb") as file:
                for number in numbers[own].tolist():
                    file.write(_document(pair.ids[pair.bounds[number] : pair.bounds[number + 1]], code).tobytes())
            told[name].append(vars(close_shard(aside, name, shard, lengths[numbers[own]])))
    count = len(order)
    columns: dict[str, Any] = {
        "split": [SPLITS[place] for place in split[order].tolist()],
        "name": [f"{source}#{number}" for number in order],
        "form": ["binidx"] * count,
        **{name: [source if name == "source" else ""] * count for name in TOLD if name != "split"},
        "ids": lengths[order],
        "notes": np.zeros(count, dtype=np.int64),
        "seconds": np.zeros(count),
        "cluster": np.array(order, dtype=np.int64),
    }
    write_table(aside / META, columns, ("split", "form", "source"))
    empty = np.flatnonzero(split < 0).tolist()
    left = {"name": [f"{source}#{number}" for number in empty], "source": [source] * len(empty)}
    left |= {"reason": ["nothing in it"] * len(empty), "detail": [""] * len(empty)}
    write_table(aside / REJECTS, left, ("source", "reason"))
    total = {"licence": "", "tier": "", "documents": count, "ids": int(lengths[order].sum())}
    counts = {"nothing in it": len(empty)} if empty else {}
    about = {"recipe": {"binidx": source}, "found": len(pair), "kept": count, "left_out": counts}
    write_manifest(aside, {**heading(code), **about, "sources": {source: total}, "splits": told})
