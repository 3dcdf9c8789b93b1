"""MusicXML as scores, plain or compressed: measured first, then parsed by music21 in a process of its own.

A program of its own, because files come from strangers and music21 takes the time and memory that they ask for.
"""

import io
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from xml.parsers import expat

from rwkv_music.errors import UserError
from rwkv_music.render.plain import read_json
from rwkv_music_tokenizers.score import Score

PARSER = "rwkv_music.reading.parse"
TIME_LIMIT = 120.0
# Of the file, and of the XML in it; its elements, and how deep they lie.
MAX_BYTES = 16 << 20
MAX_ELEMENTS = 400_000
MAX_DEPTH = 64
# Files in a compressed score, and what is read of its table of contents.
MAX_MEMBERS = 200
MAX_CONTENTS = 64 << 10
CONTENTS = "META-INF/container.xml"
ROOTS = ("score-partwise", "score-timewise")


class MusicXmlError(UserError):
    """A file that cannot be read as MusicXML."""


def read_musicxml(content: bytes, *, time_limit: float = TIME_LIMIT) -> Score:
    """The score of a .musicxml, .xml or .mxl file.

    Raises MusicXmlError for what is none, is too large or declares entities, and when it takes more than `time_limit`
    seconds.
    """
    text = checked_musicxml(content)
    command = [sys.executable, "-m", PARSER]
    try:
        done = subprocess.run(command, input=text, capture_output=True, timeout=time_limit)
    except subprocess.TimeoutExpired as error:
        raise MusicXmlError(f"reading takes more than {time_limit:.0f} s; shorten the piece") from error
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise MusicXmlError(f"this MusicXML cannot be read ({told[-1][:200] if told else 'the parser failed'})")
    return read_json(done.stdout.decode("utf-8"))[0]


def checked_musicxml(content: bytes) -> bytes:
    """The XML of a .musicxml, .xml or .mxl file. Raises MusicXmlError as `read_musicxml` does, but for the time."""
    if len(content) > MAX_BYTES:
        raise MusicXmlError(f"more than {MAX_BYTES >> 20} MiB of MusicXML; split the piece")
    text = _unpacked(content) if content[:2] == b"PK" else content
    _measure(text)
    return text


def _unpacked(content: bytes) -> bytes:
    """The score in a compressed file: the first that its table of contents names."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > MAX_MEMBERS:
                raise MusicXmlError(f"an archive of more than {MAX_MEMBERS} files is no score")
            return _member(archive, _named(_member(archive, CONTENTS, MAX_CONTENTS)), MAX_BYTES)
    except (
        zipfile.BadZipFile,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        zlib.error,
    ) as error:
        raise MusicXmlError(f"this is no compressed MusicXML ({error})") from error


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise MusicXmlError(f"{name} unpacks to more than {limit >> 10} KiB")
    return content


def _named(contents: bytes) -> str:
    names: list[str] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] == "rootfile" and "full-path" in attributes:
            names.append(attributes["full-path"])

    _parse(contents, begin)
    if not names:
        raise MusicXmlError(f"{CONTENTS} names no score")
    return names[0]


def _measure(text: bytes) -> None:
    """Raises MusicXmlError for what is no MusicXML of a size that can be read."""
    depth = count = 0

    def begin(name: str, _attributes: dict[str, str]) -> None:
        nonlocal depth, count
        if not count and name not in ROOTS:
            raise MusicXmlError(f"this is no MusicXML: it begins with <{name[:40]}>, not with <{ROOTS[0]}>")
        depth, count = depth + 1, count + 1
        if depth > MAX_DEPTH or count > MAX_ELEMENTS:
            raise MusicXmlError(
                f"more than {MAX_ELEMENTS:,} elements or {MAX_DEPTH} levels of MusicXML; split the piece"
            )

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    _parse(text, begin, end)


def _parse(text: bytes, begin: Callable[[str, dict[str, str]], None], end: Callable[[str], None] | None = None) -> None:
    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.EntityDeclHandler = _refuse_entity
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        if isinstance(error, MusicXmlError):
            raise
        raise MusicXmlError(f"not well-formed XML: {error}") from error


def _refuse_entity(name: str, *_rest: object) -> None:
    raise MusicXmlError(f"it declares an entity ({name[:40]}); MusicXML has none, and none is expanded")
