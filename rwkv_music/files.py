"""Files read within limits and written whole or not at all, under names that overwrite nothing."""

import itertools
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from rwkv_music.errors import UserError

# As much as is read, checked and converted within seconds.
TEXT_LIMIT = 1 << 20


class FileError(UserError):
    """A file that cannot be read as what it should be, or must not be overwritten."""


def read_text(path: Path | None, limit: int = TEXT_LIMIT) -> str:
    """The text of a file, or of standard input for None; line ends become newlines.

    UTF-8, UTF-16 with its byte order mark, or Latin-1 as old tunebooks use. Raises FileError, or OSError.
    """
    name = "standard input" if path is None else str(path)
    if path is None:
        content = sys.stdin.buffer.read(limit + 1)
    else:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{name}: more than {limit >> 20} MiB of text; split the file")
    text = _decode(content)
    if text is None or "\0" in text:
        raise FileError(f"{name}: not a text file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(content: bytes) -> str | None:
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "latin-1"]:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside, then rename it: `path` is whole or untouched, whatever happens. Raises OSError."""
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with aside.open("xb") as file:
            file.write(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def refuse_overwriting(paths: Sequence[Path]) -> None:
    """Raises FileError when one of `paths` exists, or its folder does not."""
    for path in paths:
        if path.exists():
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
