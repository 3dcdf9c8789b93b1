"""Files read within limits and written whole or not at all, under names that overwrite nothing."""

import itertools
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rwkv_music.errors import UserError

# As much as is read, checked and converted within seconds.
TEXT_LIMIT = 256 << 10
# What is often beside ABC and is none, by its suffix, and by what it begins with.
FOREIGN = {
    **dict.fromkeys((".mid", ".midi"), "MIDI"),
    **dict.fromkeys((".xml", ".musicxml", ".mxl"), "MusicXML"),
    **dict.fromkeys((".svg", ".pdf", ".png"), "a picture"),
    **dict.fromkeys((".wav", ".mp3", ".ogg", ".flac"), "sound"),
    ".json": "JSON",
}
BEGINNINGS = {r"\s*<[?!A-Za-z]": "XML or HTML", r'\s*[{[]\s*"[^"\n|]*"\s*[:,]': "JSON"}


class FileError(UserError):
    """A file that cannot be read as what it should be, or must not be overwritten."""


def read_bytes(path: Path | None, limit: int) -> bytes:
    """A file, or standard input for None, up to one byte more than `limit`. Raises FileError, or OSError."""
    if path is None:
        try:
            return sys.stdin.buffer.read(limit + 1)
        except OSError as error:
            raise FileError(f"standard input: {error.strerror}") from None
    with path.open("rb") as file:
        return file.read(limit + 1)


def read_text(path: Path | None, limit: int = TEXT_LIMIT) -> str:
    """The text of a file, or of standard input for None, as `decoded` makes it. Raises FileError, or OSError."""
    name = "standard input" if path is None else str(path)
    content = read_bytes(path, limit)
    if len(content) > limit:
        raise FileError(f"{name}: more than {limit >> 10} KiB of text; split the file")
    return decoded(content, name)


def decoded(content: bytes, name: str) -> str:
    """The text of a file called `name`; line ends become newlines.

    UTF-8, UTF-16 with its byte order mark, or Latin-1 as old tunebooks use. Raises FileError.
    """
    text = _decode(content)
    if text is None or "\0" in text:
        raise FileError(f"{name}: not a text file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def refuse_foreign(text: str, name: str) -> None:
    """Raises FileError when a text, called `name`, is something else than ABC by its name or its beginning."""
    kind = FOREIGN.get(Path(name).suffix.lower(), "")
    for beginning, sort in BEGINNINGS.items():
        kind = kind or (sort if re.match(beginning, text) else "")
    if kind:
        raise FileError(f"{name}: {kind}, not ABC; rwkv-music convert makes ABC of MIDI, MusicXML and JSON")


def _decode(content: bytes) -> str | None:
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "latin-1"]:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside, then rename it: `path` is whole or untouched, whatever happens. Raises OSError, which names it."""
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with aside.open("xb") as file:
            file.write(content)
        aside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, beside `folder`, which takes its place at the end of the `with`; where that fails, nothing does.

    What stood there before is gone then. Raises OSError.
    """
    aside = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        put_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def put_folder(made: Path, folder: Path) -> None:
    """Rename a folder to `folder`, on the same disk; what stood there is gone then, or there as before where that fails.

    Raises OSError.
    """
    if not folder.is_dir():
        made.rename(folder)
        return
    # No fixed name: what a killed process left aside may be all that there is of it.
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.old")
    folder.rename(old)
    try:
        made.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old, ignore_errors=True)


def refuse_replacing(
    folder: Path, kind: str, marks: Sequence[str], read: Sequence[Path] = (), *, force: bool = False
) -> None:
    """Raises FileError when `folder` exists, unless `force` is said and it is an earlier result, or empty.

    kind: what the command makes, as "a corpus"; marks: what every one of them holds; read: files and folders that are read
    for it, which `folder` must neither be nor hold nor lie in.
    """
    if not os.path.lexists(folder):
        return
    if folder.name in ("", ".."):
        raise FileError(f"{folder} cannot be replaced; name a folder")
    if not force:
        raise FileError(f"{folder} exists; --force replaces it")
    target = folder.resolve()
    for place in read:
        source = place.resolve()
        if target.is_relative_to(source) or source.is_relative_to(target):
            raise FileError(f"{folder} is, holds or lies in {place}, which is read; choose another folder")
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not is_empty and not all((folder / mark).exists() for mark in marks):
        raise FileError(f"{folder} is not {kind}, and --force replaces nothing else; choose another folder")


def refuse_overwriting(paths: Sequence[Path], *, force: bool = False) -> None:
    """Raises FileError when one of `paths` is a folder, exists without `force`, or its folder does not."""
    for path in paths:
        if path.is_dir():
            raise FileError(f"{path} is a folder; name a file")
        if path.exists() and not force:
            raise FileError(f"{path} exists; --force overwrites it")
        if not path.parent.is_dir():
            raise FileError(f"{path}: there is no folder {path.parent}")


def fresh_paths(folder: Path, stem: str, suffixes: Sequence[str]) -> list[Path]:
    """`folder/stem-N` with each of `suffixes`, N being the first number for which none of them exists."""
    for number in itertools.count(1):
        paths = [folder / f"{stem}-{number}{suffix}" for suffix in suffixes]
        if not any(path.exists() for path in paths):
            return paths
    raise AssertionError("numbers do not end")
