"""The files in an archive one after another, and the lines of a collection of tunes, never more in memory than one."""

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import zstandard

from rwkv_music_training.corpus.errors import CorpusError

ZIPS = (".zip",)
TARS = (".tar", ".tar.zst", ".tar.gz", ".tgz")
LINES = (".jsonl", ".jsonl.zst")
# How far back an archive may refer: 128 MiB.
WINDOW = 1 << 27

# The name of a file in an archive, its size, and what reads up to so many of its bytes. It raises CorpusError where they
# cannot be read; the files behind it may be whole.
Member = tuple[str, int, Callable[[int], bytes]]

# What the libraries raise for damaged bytes, a password, or a way of packing that they do not know.
BREAKS = (
    *(OSError, EOFError, RuntimeError, ValueError, struct.error),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError),
)


def is_archive(name: str) -> bool:
    """Whether a file of this name holds many pieces."""
    return name.lower().endswith((*ZIPS, *TARS, *LINES))


def stem(name: str) -> str:
    """The name of an archive without its suffixes."""
    lower = name.lower()
    ending = max((end for end in (*ZIPS, *TARS, *LINES) if lower.endswith(end)), key=len, default="")
    return name[: len(name) - len(ending)]


def members(path: Path) -> Iterator[Member]:
    """The plain files of an archive in its own order, names without a leading './'.

    Raises CorpusError where the archive cannot be read on; what came before is whole.
    """
    with _broken(str(path)):
        for name, size, read in _zip(path) if path.name.lower().endswith(ZIPS) else _tar(path):
            yield name, size, _guarded(name, read)


def lines(path: Path, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, numbered from 1; of one that is longer than `most_bytes` one byte more than that.

    Raises CorpusError where it cannot be read on.
    """
    with _broken(str(path)), _unpacked(path) as file:
        number = 1
        while line := file.readline(most_bytes + 1):
            yield number, line
            number += 1
            while len(line) > most_bytes and not line.endswith(b"\n"):
                line = file.readline(most_bytes + 1)


def _guarded(name: str, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """What reads a member, as `Member` says: it is called by others, where nothing guards it."""

    def guarded(most: int) -> bytes:
        with _broken(name):
            return read(most)

    return guarded


@contextmanager
def _broken(name: str) -> Iterator[None]:
    try:
        yield
    except BREAKS as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{name}: cannot be read on ({error})") from error


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if it is packed by zstandard."""
    if path.name.lower().endswith(".zst"):
        unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        with path.open("rb") as packed, unpacker.stream_reader(packed) as file, io.BufferedReader(file) as buffered:
            yield buffered
    else:
        with path.open("rb") as file:
            yield file


def _zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield (
                    info.filename.removeprefix("./"),
                    info.file_size,
                    lambda most, info=info: _some(archive, info, most),
                )


def _some(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(info) as file:
        return file.read(most)


def _tar(path: Path) -> Iterator[Member]:
    packed = path.name.lower().endswith((".gz", ".tgz"))
    with _unpacked(path) as file, tarfile.open(fileobj=file, mode="r|gz" if packed else "r|") as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member)
                yield member.name.removeprefix("./"), member.size, content.read if content else lambda most: b""
