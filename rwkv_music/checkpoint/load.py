"""A weights file, from whoever wrote it, to named tensors: nothing in it is ever executed."""

import hashlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rwkv_music.checkpoint.names import unwrap
from rwkv_music.model.spec import ModelError

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# What reading a damaged zip archive or pickle raises, whichever byte of it is wrong.
DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


class CheckpointError(ValueError):
    """A weights file that cannot be used: the path and the reason in one line."""


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` or `.safetensors` file by name, on the CPU, in the file's own types.

    Raises CheckpointError; FileNotFoundError and other OSErrors of opening the file pass through.
    """
    readers = {".pth": _read_pth, ".pt": _read_pth, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CheckpointError(f"{path}: weights are read from {', '.join(readers)} files")
    with path.open("rb"):
        pass
    tensors = unwrap(reader(path))
    if tensors is None:
        raise CheckpointError(f"{path}: no named tensors in this file")
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise CheckpointError(f"{path}: '{name}' is {tensor.dtype}, expected float32, bfloat16 or float16")
        if tensor.layout != torch.strided or not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: '{name}' holds values that are not finite numbers")
    return dict(tensors)


def save_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, aside first and then renamed, so that `path` is whole or untouched."""
    aside = path.with_name(path.name + ".part")
    try:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, aside, dict(metadata or {}))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, *DAMAGED) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({first_line(error)})") from None


def _read_pth(path: Path) -> object:
    try:
        _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except DAMAGED as error:
        raise CheckpointError(f"{path}: not a whole PyTorch weights file ({first_line(error)})") from None


def _check_archive(path: Path) -> None:
    """PyTorch stores tensors uncompressed; an archive that unpacks to more than its own size is a trap."""
    if not zipfile.is_zipfile(path):
        raise ModelError("it is no zip archive as PyTorch has written since 1.6")
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ModelError("it unpacks to more than its own size")


def first_line(error: BaseException) -> str:
    """What an error says, cut to one short line."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
