"""Safetensors files: the header is measured and checked before a byte of it is believed."""

import json
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from torch import Tensor

from rwkv_music.checkpoint.mapped import DAMAGED, MappedFile
from rwkv_music.checkpoint.names import check_names
from rwkv_music.checkpoint.source import CheckpointError, Stored, first_line

# A model of 100 layers takes a tenth.
HEADER_LIMIT = 8 << 20
DIMENSIONS = 8
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class HeaderError(ValueError):
    """A header that does not describe its file; says why."""


def read_safetensors(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors by the names in the file, and its metadata. Raises CheckpointError or OSError."""
    with path.open("rb") as file:
        try:
            header, start = _read_header(file)
            size = file.seek(0, os.SEEK_END)
            metadata = _metadata(header.pop("__metadata__", {}))
            check_names(header)
            kinds = {name: _kind(name, entry) for name, entry in header.items()}
            _check_offsets(header, size - start)
            mapped = MappedFile(path, partial(_open, path))
        except (OSError, *DAMAGED) as error:
            raise CheckpointError(f"{path}: not a whole safetensors file ({first_line(error)})") from None
    if not kinds:
        raise CheckpointError(f"{path}: no named tensors in this file")
    stored = {
        name: Stored(shape, dtype, partial(mapped.read, name, shape, dtype)) for name, (shape, dtype) in kinds.items()
    }
    return stored, metadata


def _open(path: Path) -> Callable[[str], Tensor]:
    return safe_open(path, framework="pt", device="cpu").get_tensor


def _read_header(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """The header and where the numbers begin."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(8)
    (length,) = struct.unpack("<Q", start)
    if length > size - 8:
        raise HeaderError("the header is longer than the file")
    if length > HEADER_LIMIT:
        raise HeaderError(f"the header is longer than {HEADER_LIMIT >> 20} MiB")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise HeaderError("the header is nested too deeply") from None
    if not isinstance(header, dict):
        raise HeaderError("the header is no JSON object")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Two tensors of one name would let two programs see two models."""
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise HeaderError("a name stands twice in the header")
    return whole


def _metadata(content: object) -> dict[str, str]:
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise HeaderError("the metadata are no table of strings")
    return content


def _kind(name: str, entry: object) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and type of one tensor, whose bytes must be as many as they say."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"'{name}' is described by other than dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _counts(shape) or len(shape) > DIMENSIONS or not _counts(offsets) or len(offsets) != 2:
        raise HeaderError(f"'{name}' has no proper shape or data_offsets")
    dtype = TYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise HeaderError(f"'{name}' is of the type {str(entry['dtype'])[:20]}, expected F32, BF16 or F16")
    numbers = dtype.itemsize
    for count in shape:
        numbers *= count
    if offsets[1] - offsets[0] != numbers:
        raise HeaderError(f"'{name}' has other than the {numbers} bytes that its shape takes")
    return tuple(shape), dtype


def _counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _check_offsets(header: dict[str, Any], size: int) -> None:
    """Raises HeaderError unless the tensors lie one after the other and fill the file."""
    place = 0
    for begin, end in sorted(entry["data_offsets"] for entry in header.values()):
        if begin != place:
            raise HeaderError("tensors overlap or leave gaps")
        place = end
    if place != size:
        raise HeaderError(f"the tensors take {place} bytes, the file has {size}")
