"""Tensors and a label of JSON in one safetensors file under a checksum, read only as far as it keeps its promises."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rwkv_music.errors import UserError

FILE_LIMIT = 512 << 20
HEADER_LIMIT = 16 << 20


class SealedError(UserError):
    """A file that is none of ours, a damaged one, or one of another model."""


def seal(form: str, label: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a file of that form."""
    text = json.dumps(label)
    return save(_apart(tensors), {"format": form, "label": text, "sha256": _digest(text, tensors)})


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each in memory of its own, as safetensors wants it: a take that has not begun remembers what its parent does."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return found


def read_sealed(path: Path) -> bytes:
    """A whole file. Raises SealedError when it is larger than any of ours, or OSError."""
    with path.open("rb") as file:
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise SealedError(f"{path}: larger than any file of ours ({FILE_LIMIT >> 20} MiB)")
    return content


def read_beginning(path: Path) -> bytes:
    """As much of a file as its header may take. Raises OSError."""
    with path.open("rb") as file:
        return file.read(8 + HEADER_LIMIT)


def header_of(path: Path, content: bytes, form: str, thing: str) -> dict[str, Any]:
    """The JSON header at the start of a safetensors file: its length in 8 bytes, then the text.

    thing: what the file should be, in words. Raises SealedError when it is of another form.
    """
    size = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    try:
        header = json.loads(content[8 : 8 + size]) if 0 < size <= min(HEADER_LIMIT, len(content) - 8) else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise SealedError(f"{path}: not {thing}")
    found = header["__metadata__"].get("format")
    if found != form:
        raise SealedError(f"{path}: not {thing} of this format ({form!r}), but {str(found)[:60]!r}")
    return header


def is_of_form(path: Path, form: str) -> bool:
    """A file says of itself that it is of that form. Raises OSError."""
    try:
        header_of(path, read_beginning(path), form, "")
    except SealedError:
        return False
    return True


def unseal(path: Path, content: bytes, header: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors. Raises SealedError when they are not whole, or not those that were written."""
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise SealedError(f"{path}: not a whole safetensors file ({str(error).splitlines()[0][:120]})") from None
    if header["__metadata__"].get("sha256") != _digest(str(header["__metadata__"].get("label")), tensors):
        raise SealedError(f"{path}: damaged, its contents do not match its checksum")
    return tensors


def _digest(label: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(label.encode())
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
