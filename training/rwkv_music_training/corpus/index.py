"""What `index.csv` says of the files of a collection: one row a file, by the column `path`."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.items import Told, told_from

INDEX = "index.csv"
MOST_BYTES = 1 << 30


class Index:
    """What is told of each file, and which of them have been seen."""

    def __init__(self, told: dict[str, Told]):
        self._told = told
        self._seen: set[str] = set()

    def take(self, path: str) -> Told | None:
        """What is told of a file, None for nothing; from now on it has been seen."""
        self._seen.add(path)
        return self._told.get(path)

    def unseen(self) -> Iterator[tuple[str, Told]]:
        """The files that the index names and nobody has taken."""
        return ((path, told) for path, told in self._told.items() if path not in self._seen)


def read_index(read: Callable[[int], bytes], place: Path, source: str) -> Index:
    """The index whose bytes `read` gives, up to so many. Raises CorpusError.

    Columns: `path`, and any of source, tier, licence, split, group, title, composer. `source` is the source of those
    that name none.
    """
    content = read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise CorpusError(f"{place}: an index may hold {MOST_BYTES >> 20} MiB")
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
    told: dict[str, Told] = {}
    try:
        for row in reader:
            told[_inside(row["path"])] = told_from(dict(row), source)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CorpusError(f"{place}, line {reader.line_num}: every row needs a path ({error})") from error
    return Index(told)


def _inside(path: str) -> str:
    """The path, which must not lead out of the collection. Raises ValueError."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} leads out of the collection")
    return str(pure)
