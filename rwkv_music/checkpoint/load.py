"""A weights file, from whoever wrote it, to named tensors: nothing in it is ever executed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from rwkv_music.checkpoint.names import strip_prefixes
from rwkv_music.checkpoint.pth import read_pth
from rwkv_music.checkpoint.safetensors_file import read_safetensors
from rwkv_music.checkpoint.source import CheckpointError, Stored, Weights

ARCHIVES = (".pth", ".pt", ".bin", ".ckpt")
SAFETENSORS = (".safetensors", ".st")


def load_weights(path: Path) -> Weights:
    """The tensors of a weights file by official name, each read from the file when it is asked for.

    Nothing but names and shapes is read here, and values are checked as they are read: see `Weights`.
    Raises CheckpointError; FileNotFoundError and other OSErrors of opening the file pass through.
    """
    stored, metadata = read_file(path)
    try:
        stored = strip_prefixes(stored)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Weights(path, stored, "official", metadata)


def read_file(path: Path) -> tuple[Mapping[str, Stored], dict[str, str]]:
    """The tensors of one file by the names in it, and its metadata. Raises CheckpointError or OSError."""
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return read_pth(path), {}
    if suffix in SAFETENSORS:
        return read_safetensors(path)
    raise CheckpointError(f"{path}: weights are read from {', '.join((*ARCHIVES, *SAFETENSORS))} files")


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
