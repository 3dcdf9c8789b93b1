"""A corpus that has been built, opened: its splits are documents that are read from mapped memory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rwkv_music_training.corpus.augment import Augmentation, augmenting
from rwkv_music_training.corpus.codes import Code, find_code
from rwkv_music_training.corpus.documents import Augment
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.shards import FORMAT, MANIFEST, META, REJECTS, Shard, paths_of, sha256
from rwkv_music_training.corpus.sharing import SPLITS


@dataclass(frozen=True)
class Manifest:
    """What a corpus says of itself."""

    code: Code
    # Of the program that built it.
    version: str
    # How it was made: a `Recipe` as JSON has it.
    recipe: Mapping[str, Any]
    # Files found and kept, and left out by reason; what was imported was not looked at.
    found: int
    kept: int
    left_out: Mapping[str, int]
    # By source: licence, tier, documents, ids.
    sources: Mapping[str, Mapping[str, Any]]
    splits: Mapping[str, tuple[Shard, ...]]

    @property
    def tokenizer(self) -> str:
        """The name of the code."""
        return self.code.name

    @property
    def vocabulary(self) -> int:
        """How many ids the code has."""
        return self.code.vocabulary

    def count(self, split: str) -> int:
        """Documents of a split."""
        return sum(shard.count for shard in self.splits[split])

    def ids(self, split: str) -> int:
        """Ids of a split."""
        return sum(shard.ids for shard in self.splits[split])


class Corpus:
    """A corpus in a folder. Made by `Corpus.open`."""

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Open a corpus; its files must be there in the size that the manifest tells. Raises CorpusError."""
        try:
            told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if told["format"] != FORMAT:
                raise CorpusError(
                    f"{folder}: a corpus of format {told['format']}, and this reads {FORMAT}; build it anew"
                )
            manifest = _manifest(told)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, CorpusError):
                raise
            raise CorpusError(f"{folder}: no corpus (its {MANIFEST} cannot be read: {error})") from error
        known = find_code(manifest.code.name)
        if known != manifest.code:
            raise CorpusError(f"{folder}: made for another vocabulary called {known.name}; build it anew")
        corpus = cls(folder, manifest)
        corpus._check_sizes()
        return corpus

    def split(self, name: str, augmentation: Augmentation | None = None) -> "Split":
        """The documents of "train", "valid" or "test"; with `augmentation` instead of the usual one where they are drawn."""
        if name not in SPLITS:
            raise CorpusError(f"a corpus has the splits {', '.join(SPLITS)}, not {name!r}")
        return Split(self, name, augmenting(self.manifest.code, augmentation or Augmentation()))

    def table(self, split: str, columns: list[str] | None = None) -> Any:
        """What is known of the documents of a split, in their order, as a pyarrow table."""
        from pyarrow import parquet

        # The rows of the splits lie one after another.
        first = sum(self.manifest.count(name) for name in SPLITS[: SPLITS.index(split)])
        return parquet.read_table(self.folder / META, columns=columns).slice(first, self.manifest.count(split))

    def rejects(self) -> Any:
        """The files that were left out: name, source, reason, detail, as a pyarrow table."""
        from pyarrow import parquet

        return parquet.read_table(self.folder / REJECTS)

    def check(self) -> None:
        """Raises CorpusError for a file that is not as it was written."""
        for shard in (shard for shards in self.manifest.splits.values() for shard in shards):
            for name, wanted in ((shard.tokens, shard.tokens_sha256), (shard.documents, shard.documents_sha256)):
                if sha256(self.folder / name) != wanted:
                    raise CorpusError(f"{self.folder / name}: damaged (its sha256 is not the one it was written with)")

    def _check_sizes(self) -> None:
        size = self.manifest.code.dtype.itemsize
        for shard in (shard for shards in self.manifest.splits.values() for shard in shards):
            path = self.folder / shard.tokens
            there = path.stat().st_size if path.is_file() else 0
            if there != shard.ids * size or not (self.folder / shard.documents).is_file():
                raise CorpusError(
                    f"{path}: damaged ({there:,} bytes, expected {shard.ids * size:,}); build the corpus anew"
                )


class Split:
    """See `Documents`."""

    def __init__(self, corpus: Corpus, name: str, augment: Augment):
        self._corpus = corpus
        self._augment = augment
        self.name = name
        self._shards = [shard for shard in corpus.manifest.splits[name] if shard.count]
        bounds = [_bounds(corpus.folder / shard.documents, shard) for shard in self._shards]
        self._bounds = bounds
        # The number of the first document of each shard.
        self._firsts = np.cumsum([0, *(shard.count for shard in self._shards)])
        self._tokens: dict[int, np.ndarray] = {}
        self.lengths = np.concatenate([np.zeros(0, dtype=np.int64), *map(np.diff, bounds)])

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def sources(self) -> np.ndarray:
        """See `Documents`."""
        return self._sources

    @cached_property
    def _sources(self) -> np.ndarray:
        return np.array(self.column("source"), dtype=np.str_)

    @cached_property
    def notes(self) -> np.ndarray:
        """(D,) int64: the notes of each document."""
        return np.array(self.column("notes"), dtype=np.int64)

    @cached_property
    def seconds(self) -> np.ndarray:
        """(D,) float64: how long each document lasts."""
        return np.array(self.column("seconds"), dtype=np.float64)

    def column(self, name: str) -> list[Any]:
        """One of name, form, source, tier, licence, group, title, composer, ids, notes, seconds, cluster; (D,)."""
        return self._corpus.table(self.name, [name])[name].to_pylist()

    def read(self, index: int, draw: np.random.Generator | None = None) -> np.ndarray:
        """See `Documents`. Raises CorpusError for a document that is damaged."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has documents 0..{len(self) - 1}, not {index}")
        shard = int(np.searchsorted(self._firsts, index, side="right")) - 1
        begin, end = self._bounds[shard][index - self._firsts[shard] :][:2].tolist()
        ids = self._mapped(shard)[begin:end].astype(np.int64)
        code = self._corpus.manifest.code
        if not len(ids) or ids[0] != code.begin or ids[-1] != code.end or ids.max() >= code.vocabulary:
            place = self._corpus.folder / self._shards[shard].tokens
            raise CorpusError(f"{place}: damaged at ids {begin}..{end - 1}; build the corpus anew")
        return ids if draw is None else self._augment(ids, draw)

    def _mapped(self, shard: int) -> np.ndarray:
        if shard not in self._tokens:
            path = self._corpus.folder / self._shards[shard].tokens
            self._tokens[shard] = np.memmap(path, dtype=self._corpus.manifest.code.dtype, mode="r")
        return self._tokens[shard]


def _bounds(path: Path, shard: Shard) -> np.ndarray:
    try:
        bounds = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CorpusError(f"{path}: damaged ({error}); build the corpus anew") from error
    whole = bounds.shape == (shard.count + 1,) and bounds[0] == 0 and bounds[-1] == shard.ids
    if not whole or (np.diff(bounds) < 0).any():
        raise CorpusError(f"{path}: damaged (documents that do not lie one after another); build the corpus anew")
    return bounds.astype(np.int64)


def _manifest(told: dict[str, Any]) -> Manifest:
    """What a manifest tells. Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
    code = {name: value for name, value in told["code"].items() if name != "dtype"}
    splits = {split: tuple(Shard(**shard) for shard in told["splits"][split]) for split in SPLITS}
    for split, shards in splits.items():
        for number, shard in enumerate(shards):
            if (shard.tokens, shard.documents) != paths_of(split, number):
                raise ValueError(f"{shard.tokens} is no shard of {split}")
    plain = {name: told[name] for name in ("version", "recipe", "found", "kept", "left_out", "sources")}
    return Manifest(Code(**code), splits=splits, **plain)
