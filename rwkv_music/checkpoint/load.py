"""A weights file, from whoever wrote it, to named tensors: nothing in it is ever executed."""

import hashlib
from pathlib import Path

from rwkv_music.checkpoint.folder import INDEXES, config_beside, file_in, read_shards
from rwkv_music.checkpoint.gguf_read import read_gguf
from rwkv_music.checkpoint.layouts.recipe import Contents
from rwkv_music.checkpoint.layouts.recognise import official_tensors
from rwkv_music.checkpoint.names import strip_prefixes
from rwkv_music.checkpoint.pth import read_pth
from rwkv_music.checkpoint.safetensors_file import read_safetensors
from rwkv_music.checkpoint.save import save_weights as save_weights
from rwkv_music.checkpoint.source import CheckpointError, Stored, Weights

ARCHIVES = (".pth", ".pt", ".bin", ".ckpt")
SAFETENSORS = (".safetensors", ".st")
GGUF = ".gguf"


def load_weights(path: Path) -> Weights:
    """The tensors of a weights file, in whatever layout, by official name; each is read when it is asked for.

    path: a file, an index of several, or a folder that holds either. Nothing but names and shapes is read here, and
    values are checked as they are read: see `Weights`. Raises CheckpointError; FileNotFoundError and other OSErrors of
    opening the file pass through.
    """
    path = file_in(path) if path.is_dir() else path
    if path.suffix.lower() == GGUF:
        return read_gguf(path)
    stored, metadata = read_shards(path, _read_file) if path.name in INDEXES else _read_file(path)
    try:
        stored = strip_prefixes(stored)
        shapes = {name: tensor.shape for name, tensor in stored.items()}
        archive = path.suffix.lower() in ARCHIVES or path.name == INDEXES[1]
        tensors, layout = official_tensors(stored, Contents(shapes, metadata, config_beside(path), archive))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Weights(path, tensors, layout, metadata)


def _read_file(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors of one file by the names in it, and its metadata. Raises CheckpointError or OSError."""
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return read_pth(path), {}
    if suffix in SAFETENSORS:
        return read_safetensors(path)
    raise CheckpointError(f"{path}: weights are read from {', '.join((*ARCHIVES, *SAFETENSORS, GGUF))} files")


def file_hash(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
