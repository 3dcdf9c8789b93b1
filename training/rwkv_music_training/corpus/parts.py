"""Prepared documents on disk: a part is some of them as five files, written by whoever prepared them, in any order.

`NAME.ids`, `NAME.shingles` and `NAME.bands` are plain arrays, `NAME.rows` and `NAME.left` tables in Arrow's file format;
the rows tell how many ids and shingles each document has, in the order of the arrays.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rwkv_music_training.corpus.fingerprints import BANDS, DIGEST_BYTES
from rwkv_music_training.corpus.items import TOLD, LeftOut
from rwkv_music_training.corpus.preparing import Prepared

# Where a file stands in the order of reading.
ORDER = ("unit", "place")
DIGESTS = ("same_content", "same_notes", "same_shape")
ROWS = pa.schema(
    [
        *[(name, pa.int64()) for name in ORDER],
        *[(name, pa.string()) for name in ("name", "form", *TOLD)],
        *[("notes", pa.int64()), ("seconds", pa.float64()), ("ids", pa.int64()), ("shingles", pa.int64())],
        *[(name, pa.binary(DIGEST_BYTES)) for name in DIGESTS],
    ]
)
LEFT = pa.schema(
    [*[(name, pa.int64()) for name in ORDER], *[(name, pa.string()) for name in ("name", "source", "reason", "detail")]]
)
# Rows of a part, about.
ROWS_A_PART = 8192


class PartWriter:
    """Writes one part; it is whole when it is closed."""

    def __init__(self, folder: Path, name: str):
        self._base = folder / name
        self._rows: list[tuple[Any, ...]] = []
        self._left: list[tuple[Any, ...]] = []
        self._files = {end: _file(self._base, end).open("wb") for end in ("ids", "shingles", "bands")}

    @property
    def count(self) -> int:
        """Files that have been told of."""
        return len(self._rows) + len(self._left)

    def write(self, outcomes: Sequence[Prepared | LeftOut]) -> None:
        """Add what became of some files."""
        for one in outcomes:
            if isinstance(one, LeftOut):
                self._left.append((*one.key, one.name, one.source, one.reason, one.detail))
                continue
            prints, item = one.fingerprints, one.item
            told = [getattr(item.told, name) for name in TOLD]
            counts = (one.notes, one.seconds, len(one.ids), len(prints.shingles))
            self._rows.append(
                (*item.key, item.name, item.form, *told, *counts, prints.content, prints.notes, prints.shape)
            )
            self._files["ids"].write(one.ids.tobytes())
            self._files["shingles"].write(prints.shingles.tobytes())
            self._files["bands"].write(one.bands.tobytes())

    def close(self) -> None:
        """Write the tables, which make the part whole."""
        for file in self._files.values():
            file.close()
        _write(_file(self._base, "left"), self._left, LEFT)
        _write(_file(self._base, "rows"), self._rows, ROWS)


def _file(base: Path, end: str) -> Path:
    return base.with_name(f"{base.name}.{end}")


def _write(path: Path, rows: list[tuple[Any, ...]], schema: pa.Schema) -> None:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema
    )
    aside = path.with_name(f"{path.name}.aside")
    with pa.OSFile(str(aside), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(table)
    aside.replace(path)


class Parts:
    """Parts of these names in a folder as one table in the order of reading, and their arrays."""

    def __init__(self, folder: Path, names: Sequence[str], dtype: np.dtype):
        self._folder = folder
        self._dtype = dtype
        self._names = sorted(names)
        tables = [_located(folder, name, number) for number, name in enumerate(self._names)]
        self.rows = _sorted(pa.concat_tables([ROWS_LOCATED.empty_table(), *tables]))
        self.left = _sorted(
            pa.concat_tables([LEFT.empty_table(), *(_table(folder / f"{name}.left") for name in self._names)])
        )
        self._part, self._ids_at, self._shingles_at = (self.numbers(name) for name in _PLACES)

    def __len__(self) -> int:
        return len(self.rows)

    def numbers(self, name: str) -> np.ndarray:
        """(D,): a column of numbers."""
        return self.rows[name].to_numpy()

    def texts(self, name: str) -> list[str]:
        """A column of texts."""
        return self.rows[name].to_pylist()

    def digests(self, name: str) -> np.ndarray:
        """(D,) of DIGEST_BYTES bytes: a column of digests."""
        # Bytes of one length: that numpy forgets zeros at the end makes no two of them the same.
        return np.array(self.rows[name].to_pylist(), dtype=f"S{DIGEST_BYTES}")

    def copy_ids(self, chosen: np.ndarray, path: Path) -> None:
        """Write the ids of some documents, one after another, to a file."""
        lengths = self.numbers("ids")
        with path.open("wb") as file:
            for ids in self._each("ids", self._ids_at, lengths, self._dtype, chosen):
                file.write(ids.tobytes())

    def merge_shingles(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """All shingles in the order of reading, mapped from a file that is written: (n,) uint32; and where each begins."""
        counts = self.numbers("shingles")
        bounds = np.concatenate([[0], np.cumsum(counts)])
        with path.open("wb") as file:
            for shingles in self._each("shingles", self._shingles_at, counts, np.dtype("<u4"), np.arange(len(self))):
                file.write(shingles.tobytes())
        return _mapped(path, np.dtype("<u4")), bounds

    def merge_bands(self, path: Path) -> np.ndarray:
        """(BANDS, D) uint64, mapped from a file that is written: the bands in the order of reading."""
        if not len(self):
            return np.zeros((BANDS, 0), dtype="<u8")
        merged = np.memmap(path, dtype="<u8", mode="w+", shape=(BANDS, len(self)))
        places = self.numbers("row")
        for number, name in enumerate(self._names):
            own = np.flatnonzero(self._part == number)
            merged[:, own] = _mapped(self._folder / f"{name}.bands", np.dtype("<u8")).reshape(-1, BANDS)[places[own]].T
        return merged

    def _each(
        self, end: str, begins: np.ndarray, lengths: np.ndarray, dtype: np.dtype, chosen: np.ndarray
    ) -> Iterator[np.ndarray]:
        """The array of each of some documents, from the parts that they are in."""
        part, array = -1, np.zeros(0, dtype=dtype)
        for number in chosen.tolist():
            if self._part[number] != part:
                part = int(self._part[number])
                array = _mapped(self._folder / f"{self._names[part]}.{end}", dtype)
            yield array[begins[number] : begins[number] + lengths[number]]


_PLACES = ("part", "ids_at", "shingles_at")
ROWS_LOCATED = pa.schema([*ROWS, *[(name, pa.int64()) for name in (*_PLACES, "row")]])


def _located(folder: Path, name: str, number: int) -> pa.Table:
    """The rows of a part, and where their ids and shingles begin in its arrays."""
    table = _table(folder / f"{name}.rows")
    count = len(table)
    begins = [np.cumsum(lengths) - lengths for lengths in (table["ids"].to_numpy(), table["shingles"].to_numpy())]
    for column, values in zip((*_PLACES, "row"), (np.full(count, number), *begins, np.arange(count)), strict=True):
        table = table.append_column(column, pa.array(values, pa.int64()))
    return table


def _table(path: Path) -> pa.Table:
    with pa.OSFile(str(path), "rb") as file:
        return pa.ipc.open_file(file).read_all()


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in ORDER])


def _mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype=dtype)
