"""A corpus on disk: for each split its ids in shards that are mapped into memory, with tables and a manifest beside them.

manifest.json      code and version, what was done, counts, every shard with its sha256
meta.parquet       a row a document, split by split in the order of the shards: where it came from, notes, seconds
rejects.parquet    a row for every file left out, with the reason
train/tokens-00000.bin, train/documents-00000.npy    ids, low byte first; and where each document begins
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rwkv_music import __version__
from rwkv_music_training.corpus.codes import Code

# Raised whenever what is kept, or how, is changed.
FORMAT = 1
MANIFEST, META, REJECTS = "manifest.json", "meta.parquet", "rejects.parquet"
# What tells a folder that may be replaced, and how it is called.
MADE = ("a corpus", (MANIFEST, META))
# Ids of a shard, about: 256 MiB of two bytes each.
IDS_A_SHARD = 1 << 27


@dataclass(frozen=True)
class Shard:
    """Some documents of a split."""

    # In the corpus folder, with forward slashes.
    tokens: str
    documents: str
    count: int
    ids: int
    tokens_sha256: str
    documents_sha256: str


def cut(lengths: np.ndarray, most: int = IDS_A_SHARD) -> list[np.ndarray]:
    """Documents of these lengths (D,) in shards: their numbers, in order, each shard within `most` ids or of one document."""
    shards: list[np.ndarray] = []
    begin, held = 0, 0
    for number, length in enumerate(lengths.tolist()):
        if held and held + length > most:
            shards.append(np.arange(begin, number))
            begin, held = number, 0
        held += length
    return [*shards, np.arange(begin, len(lengths))]


def paths_of(split: str, number: int) -> tuple[str, str]:
    """Where a shard's ids are, and where its documents begin."""
    return f"{split}/tokens-{number:05d}.bin", f"{split}/documents-{number:05d}.npy"


def close_shard(folder: Path, split: str, number: int, lengths: np.ndarray) -> Shard:
    """Write where the documents of a shard begin, whose ids are written, and take its measure."""
    tokens, documents = paths_of(split, number)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")
    np.save(folder / documents, bounds)
    return Shard(
        tokens, documents, len(lengths), int(bounds[-1]), *(sha256(folder / name) for name in (tokens, documents))
    )


def sha256(path: Path) -> str:
    """The sha256 of a file."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


def write_table(path: Path, columns: Mapping[str, Any], repeating: Sequence[str]) -> None:
    """Write columns, sequences or Arrow's, as parquet; the texts of those in `repeating` are few."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    arrays = {name: held if isinstance(held, pa.ChunkedArray) else pa.array(held) for name, held in columns.items()}
    for name in repeating:
        arrays[name] = arrays[name].cast(pa.string()).dictionary_encode()
    parquet.write_table(pa.table(arrays), path, compression="zstd")


def heading(code: Code) -> dict[str, Any]:
    """What a manifest begins with."""
    return {"format": FORMAT, "version": __version__, "code": {**vars(code), "dtype": code.dtype.str}}


def write_manifest(folder: Path, told: dict[str, Any]) -> None:
    """Write the manifest; the corpus is whole then."""
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
