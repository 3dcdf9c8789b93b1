"""The pieces of a unit one after another, each as its bytes; what cannot be taken comes with its reason."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath

from rwkv_music.errors import UserError
from rwkv_music.files import decoded
from rwkv_music.tunebook import every_tune
from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.archives import LINES, Member, lines, members, stem
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.index import INDEX, Index, read_index
from rwkv_music_training.corpus.items import ABC, FORMS, Item, LeftOut, Told, printable, told_from
from rwkv_music_training.corpus.units import Unit

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Taking:
    """Which pieces are taken."""

    # Of pieces whose licence has a tier, those of these tiers; pieces without one are always taken.
    tiers: tuple[str, ...] = ("A",)
    # Of a file, packed or in an archive.
    most_bytes: int = 4 << 20


def read_unit(unit: Unit, taking: Taking) -> Iterator[Item | LeftOut]:
    """The pieces of a unit, numbered as they come; a tunebook is as many pieces as it has tunes."""
    reader = _Reader(unit, taking)
    try:
        if unit.files:
            yield from reader.files()
        elif unit.path.name.lower().endswith(LINES):
            yield from reader.lines()
        else:
            yield from reader.archive()
    except CorpusError as error:
        yield reader.left_out("", items.BROKEN_ARCHIVE, str(error))


class _Reader:
    def __init__(self, unit: Unit, taking: Taking):
        self._unit = unit
        self._taking = taking
        self._count = 0
        self._source = stem(unit.path.name)

    def left_out(self, path: str, reason: str, detail: str = "", told: Told | None = None) -> LeftOut:
        return LeftOut(self._key(), self._name(path), told.source if told else self._source, reason, printable(detail))

    def _key(self) -> tuple[int, int]:
        self._count += 1
        return self._unit.number, self._count - 1

    def _name(self, path: str) -> str:
        return printable("/".join(filter(None, (self._unit.name, path))))

    def files(self) -> Iterator[Item | LeftOut]:
        """Loose files of a folder."""
        for path, told in self._unit.files:
            file = self._unit.path / path
            try:
                if not file.is_file():
                    yield self.left_out(path, items.NOT_THERE, "", told)
                    continue
                yield from self._piece((path, file.stat().st_size, lambda most, file=file: _begin(file, most)), told)
            except OSError as error:
                yield self.left_out(path, items.NOT_READABLE, error.strerror or "", told)

    def archive(self) -> Iterator[Item | LeftOut]:
        """The files of an archive, by its index if it has one."""
        index = self._index()
        for member in members(self._unit.path):
            if member[0] != INDEX:
                told = index.take(str(PurePosixPath(member[0]))) if index else Told(source=self._source)
                yield from self._piece(member, told)
        for path, told in index.unseen() if index else ():
            yield self.left_out(path, items.NOT_THERE, "", told)

    def _index(self) -> Index | None:
        for name, _, read in members(self._unit.path):
            if name == INDEX:
                return read_index(read, self._unit.path / INDEX, self._source)
        return None

    def _piece(self, member: Member, told: Told | None) -> Iterator[Item | LeftOut]:
        path, size, read = member
        form = FORMS.get(PurePosixPath(path).suffix.lower())
        if form is None:
            yield self.left_out(path, items.OTHER_KIND, PurePosixPath(path).suffix.lower(), told)
        elif told is None:
            yield self.left_out(path, items.NOT_IN_INDEX)
        elif self._is_other_tier(told):
            yield self.left_out(path, items.OTHER_TIER, f"tier {told.tier}", told)
        elif size > self._taking.most_bytes:
            yield self.left_out(path, items.TOO_LARGE, f"{size:,} bytes", told)
        else:
            try:
                content = read(self._taking.most_bytes)
            except CorpusError as error:
                yield self.left_out(path, items.NOT_READABLE, str(error), told)
                return
            if form == ABC:
                yield from self._tunes(path, content, told)
            else:
                yield Item(self._key(), self._name(path), form, content, told)

    def _is_other_tier(self, told: Told) -> bool:
        return bool(told.tier) and told.tier not in self._taking.tiers

    def _tunes(self, path: str, content: bytes, told: Told) -> Iterator[Item | LeftOut]:
        """The tunes of a file."""
        try:
            tunes = every_tune(decoded(content, path))
        except UserError as error:
            yield self.left_out(path, items.NOT_READABLE, str(error), told)
            return
        first = list(islice(tunes, 2))
        for number, tune in enumerate(chain(first, tunes), start=1):
            name = self._name(path) + (f"#{number}" if len(first) > 1 else "")
            yield Item(self._key(), name, ABC, tune.encode(), told)

    def lines(self) -> Iterator[Item | LeftOut]:
        """The tunes of a file of JSON objects, a line each, with ABC as `abc`."""
        split = self._source if self._source in SPLITS else ""
        most = self._taking.most_bytes
        for number, line in lines(self._unit.path, most):
            path = f"line {number}"
            if len(line) > most:
                yield self.left_out(path, items.TOO_LARGE, f"more than {most:,} bytes")
                continue
            row = _object(line)
            text = row.get("abc")
            if not isinstance(text, str):
                yield self.left_out(path, items.NOT_READABLE, "a line must be an object with the tune as abc")
                continue
            told = told_from({"split": split, **row}, self._source)
            name = row.get("id")
            path = name if isinstance(name, str) else path
            if self._is_other_tier(told):
                yield self.left_out(path, items.OTHER_TIER, f"tier {told.tier}", told)
            else:
                yield Item(self._key(), self._name(path), ABC, text.encode("utf-8", "replace"), told)


def _begin(file: Path, most: int) -> bytes:
    with file.open("rb") as opened:
        return opened.read(most)


def _object(line: bytes) -> dict[str, object]:
    """The object in a line; an empty one where there is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}
