"""Documents of notes from a collection of MIDI files, kept as one file of ids so that later runs begin at once."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from rwkv_music.files import whole_folder
from rwkv_music_tokenizers.note_vocabulary import vocabulary_sha256
from rwkv_music_training.corpus.tunes import CorpusError
from rwkv_music_training.encoding import Clock, Encoded, encode_all
from rwkv_music_training.midi_files import MOST_BYTES, Collection, open_collection

IDS, DOCUMENTS = "ids.npy", "documents.json"
# A file with fewer notes is not music.
FEWEST_NOTES = 16
FILES_A_REPORT = 1000
# Raised whenever the same file is encoded or kept in another way, so that no old cache is read.
LAYOUT = 1


class Choice(Protocol):
    """Which files of a collection become documents, and how."""

    @property
    def tiers(self) -> tuple[str, ...]: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def threads(self) -> int: ...


@dataclass(frozen=True, eq=False)
class NoteCorpus:
    """Documents in a row."""

    # (n,): the ids of all documents, mapped from disk; and (documents + 1,) where each begins.
    ids: np.ndarray
    starts: np.ndarray
    # Names of the sources, and for each document the number of its source.
    sources: tuple[str, ...]
    source: np.ndarray
    # (documents,): notes, and seconds of music.
    notes: np.ndarray
    seconds: np.ndarray
    paths: tuple[str, ...]
    # Files left out, by reason.
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.paths)

    def document(self, number: int) -> np.ndarray:
        """The ids of one document."""
        return self.ids[self.starts[number] : self.starts[number + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """(documents,): the ids of each."""
        return np.diff(self.starts)

    @cached_property
    def tokens(self) -> np.ndarray:
        """(sources,): the ids of all documents of each source."""
        return np.bincount(self.source, self.lengths, len(self.sources))


def note_corpus(
    data: Path, split: str, cache: Path, config: Choice, say: Callable[[str], None] = lambda line: None
) -> NoteCorpus:
    """The documents of one split of a collection; encoded at the first call, read from `cache` at later ones.

    Raises CorpusError.
    """
    collection = open_collection(data, split, config.tiers)
    folder = cache / f"notes-{split}-{_fingerprint(collection, config)}"
    if not (folder / DOCUMENTS).is_file():
        _build(collection, folder, config, say)
    return _read(folder)


def _fingerprint(collection: Collection, config: Choice) -> str:
    """What the ids depend on, in sixteen hexadecimal digits."""
    files = sorted((file.path, file.source) for file in collection.files)
    told = [hashlib.sha256(collection.index).hexdigest(), files, config.clock, vocabulary_sha256(), MOST_BYTES, LAYOUT]
    return hashlib.sha256(json.dumps([*told, FEWEST_NOTES]).encode()).hexdigest()[:16]


def _build(collection: Collection, folder: Path, config: Choice, say: Callable[[str], None]) -> None:
    say(f"encoding {len(collection.files):,} files of {collection.place}, kept in {folder}")
    left_out: Counter[str] = Counter()
    done: dict[str, tuple[str, Encoded]] = {}

    def readable() -> Iterator[tuple[tuple[str, str], bytes]]:
        for file, content in collection.contents():
            if content is None:
                left_out[f"not there, or larger than {MOST_BYTES:,} bytes"] += 1
            else:
                yield (file.path, file.source), content

    for number, ((path, source), result) in enumerate(encode_all(readable(), config.clock, config.threads), start=1):
        if isinstance(result, str):
            left_out[result] += 1
        elif result.notes < FEWEST_NOTES:
            left_out[f"fewer than {FEWEST_NOTES} notes"] += 1
        else:
            done[path] = (source, result)
        if number % FILES_A_REPORT == 0:
            say(f"{number:,} files encoded")
    if not done:
        raise CorpusError(f"{collection.place}: no file could be encoded ({_listed(left_out)})")
    _write(folder, [(path, *done[path]) for path in sorted(done)], left_out)


def _write(folder: Path, documents: list[tuple[str, str, Encoded]], left_out: Mapping[str, int]) -> None:
    """Write the cache aside, then rename it."""
    rows = [
        {
            "path": path,
            "source": source,
            "length": len(encoded.ids),
            "notes": encoded.notes,
            "seconds": round(encoded.seconds, 3),
        }
        for path, source, encoded in documents
    ]
    text = json.dumps({"left_out": dict(left_out), "documents": rows})
    with whole_folder(folder) as aside:
        np.save(aside / IDS, np.concatenate([encoded.ids for _, _, encoded in documents]))
        (aside / DOCUMENTS).write_text(text, encoding="utf-8")


def _read(folder: Path) -> NoteCorpus:
    try:
        told = json.loads((folder / DOCUMENTS).read_text(encoding="utf-8"))
        ids = np.load(folder / IDS, mmap_mode="r", allow_pickle=False)
        rows = told["documents"]
        starts = np.concatenate([[0], np.cumsum([row["length"] for row in rows])])
        sources = tuple(sorted({row["source"] for row in rows}))
        corpus = NoteCorpus(
            ids,
            starts,
            sources,
            np.array([sources.index(row["source"]) for row in rows]),
            np.array([row["notes"] for row in rows]),
            np.array([row["seconds"] for row in rows]),
            tuple(row["path"] for row in rows),
            told["left_out"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{folder}: not a whole cache; remove it ({error})") from error
    if starts[-1] != len(ids):
        raise CorpusError(f"{folder}: not a whole cache; remove it (ids and documents differ)")
    return corpus


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in counts.items()) or "nothing left out"


def corpus_line(corpus: NoteCorpus) -> str:
    """What a corpus holds, in one line."""
    counts = np.bincount(corpus.source, minlength=len(corpus.sources))
    by_source = [
        f"{name} {count:,} ({tokens:,.0f} ids)"
        for name, count, tokens in zip(corpus.sources, counts, corpus.tokens, strict=True)
    ]
    return f"{len(corpus):,} documents: {', '.join(by_source)}; left out: {_listed(corpus.left_out)}"
