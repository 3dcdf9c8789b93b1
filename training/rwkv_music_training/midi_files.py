"""Collections of MIDI files: what index.csv says of each, and their bytes, from a folder or a .tar.zst archive."""

import csv
import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import zstandard

from rwkv_music_training.corpus.tunes import CorpusError

INDEX = "index.csv"
MOST_INDEX_BYTES = 64 << 20
# A longer file is not read: MIDI of this size holds hours of music.
MOST_BYTES = 2 << 20
# How far back an archive may refer: 128 MiB.
WINDOW = 1 << 27


@dataclass(frozen=True)
class MidiFile:
    """What the index says of one file."""

    # Where it lies in the collection, with forward slashes.
    path: str
    source: str


@dataclass(frozen=True)
class Collection:
    """Some files of a collection."""

    place: Path
    # The index as it stands, to tell whether a collection has changed.
    index: bytes
    files: tuple[MidiFile, ...]

    def contents(self) -> Iterator[tuple[MidiFile, bytes | None]]:
        """Each file with its bytes; None for one that is too large or not there. Raises CorpusError."""
        if self.place.is_dir():
            for file in self.files:
                path = self.place / file.path
                within = path.is_file() and path.stat().st_size <= MOST_BYTES
                yield file, path.read_bytes() if within else None
            return
        wanted = {file.path: file for file in self.files}
        with _members(self.place) as members:
            for name, member, archive in members:
                if file := wanted.pop(name, None):
                    yield file, _bytes(archive, member) if member.size <= MOST_BYTES else None
        yield from ((file, None) for file in wanted.values())


def open_collection(place: Path, split: str, tiers: Sequence[str]) -> Collection:
    """The files of one split and some tiers of a folder or archive with an index. Raises CorpusError."""
    index = _index(place)
    reader = csv.DictReader(io.StringIO(index.decode("utf-8", "replace"), newline=""))
    files = []
    try:
        for row in reader:
            if row["split"] == split and row["tier"] in tiers:
                files.append(MidiFile(_inside(row["path"]), row["source"]))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CorpusError(
            f"{place}, {INDEX}, line {reader.line_num}: needs the columns path, source, tier and split ({error})"
        ) from error
    if not files:
        raise CorpusError(f"{place}: no file of split {split}, tier {', '.join(tiers)}")
    return Collection(place, index, tuple(files))


def _inside(path: str) -> str:
    """The path, which must not lead out of the collection. Raises ValueError."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r} leads out of the collection")
    return path


def _index(place: Path) -> bytes:
    try:
        if place.is_dir():
            with (place / INDEX).open("rb") as file:
                return _limited(file.read(MOST_INDEX_BYTES + 1), place)
        with _members(place) as members:
            for name, member, archive in members:
                if name == INDEX:
                    return _limited(_bytes(archive, member, MOST_INDEX_BYTES + 1), place)
    except OSError as error:
        raise CorpusError(f"{place}: cannot be read ({error})") from error
    raise CorpusError(f"{place}: holds no {INDEX}")


def _limited(index: bytes, place: Path) -> bytes:
    if len(index) > MOST_INDEX_BYTES:
        raise CorpusError(f"{place}: {INDEX} may hold {MOST_INDEX_BYTES:,} bytes")
    return index


@contextmanager
def _members(place: Path) -> Iterator[Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]]:
    """The plain files of a .tar.zst archive as they come, by name without a leading './'. Raises CorpusError."""
    try:
        with (
            place.open("rb") as file,
            zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(file) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as archive,
        ):
            yield ((member.name.removeprefix("./"), member, archive) for member in archive if member.isfile())
    except (OSError, tarfile.TarError, zstandard.ZstdError) as error:
        raise CorpusError(f"{place}: cannot be read ({error})") from error


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int = MOST_BYTES) -> bytes:
    file = archive.extractfile(member)
    return file.read(most) if file else b""
