"""What a corpus is made of, cut into units that a process reads by itself: an archive, or some files of a folder."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rwkv_music_training.corpus.archives import is_archive
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.index import INDEX, Index, read_index
from rwkv_music_training.corpus.items import NOTHING_TOLD, Told

FILES_A_UNIT = 256


@dataclass(frozen=True)
class Unit:
    """Some music that is read in one go."""

    # From 0 in the order of reading.
    number: int
    # An archive, or the folder in which `files` lie.
    path: Path
    # What the names of its pieces begin with.
    name: str
    # Loose files by their path in the folder, and what is told of each; None where an index should tell and does not.
    files: tuple[tuple[str, Told | None], ...] = ()


def find_units(places: Iterable[Path]) -> Iterator[Unit]:
    """The units of folders, archives and files, always in the same order. Raises CorpusError for a place that is not there.

    Hidden files and what links to folders are passed over; an `index.csv` tells of the files in and below its folder.
    """
    number = 0
    for place in places:
        if not place.exists():
            raise CorpusError(f"{place}: there is no such file or folder")
        folder = place.resolve()
        if not folder.is_dir():
            archive = is_archive(folder.name)
            files = () if archive else ((folder.name, Told(source=folder.parent.name)),)
            yield Unit(number, folder if archive else folder.parent, folder.name if archive else "", files)
            number += 1
            continue
        for unit in _of_folder(folder):
            yield Unit(number, unit.path, unit.name, unit.files)
            number += 1


def _of_folder(folder: Path) -> Iterator[Unit]:
    loose: list[tuple[str, Told | None]] = []
    for path, told in _walk(folder):
        if is_archive(path):
            yield Unit(0, folder / path, f"{folder.name}/{path}")
            continue
        loose.append((path, told))
        if len(loose) == FILES_A_UNIT:
            yield Unit(0, folder, folder.name, tuple(loose))
            loose.clear()
    if loose:
        yield Unit(0, folder, folder.name, tuple(loose))


def _walk(folder: Path) -> Iterator[tuple[str, Told | None]]:
    """The files in and below a folder, by their path in it, sorted; and what is told of each."""
    indexes: dict[str, Index] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        at = PurePosixPath(Path(place).relative_to(folder).as_posix())
        if INDEX in files:
            with (Path(place) / INDEX).open("rb") as file:
                indexes[str(at)] = read_index(file.read, Path(place) / INDEX, at.name or folder.name)
        for name in sorted(files):
            if name == INDEX or name.startswith("."):
                continue
            path = str(at / name)
            yield path, NOTHING_TOLD if is_archive(name) else _told(path, folder.name, indexes)
    for at, index in indexes.items():
        yield from ((str(PurePosixPath(at) / path), told) for path, told in index.unseen())


def _told(path: str, folder: str, indexes: dict[str, Index]) -> Told | None:
    """What the nearest index above a file tells of it; without one, that its folder is its source."""
    pure = PurePosixPath(path)
    for above in pure.parents:
        if index := indexes.get(str(above)):
            return index.take(str(pure.relative_to(above)))
    return Told(source=pure.parts[0] if len(pure.parts) > 1 else folder)
