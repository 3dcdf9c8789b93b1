"""RWKV-6 and RWKV-7 from GGUF files, of any type that PyPI `gguf` can undo, tensor by tensor."""

import mmap
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rwkv_music.checkpoint.gguf_header import Entry, GgufError, Header, read_header
from rwkv_music.checkpoint.gguf_names import AS_IS, FLAT, FUSED, NAMINGS, R_K, RESCALED, Naming, Turn
from rwkv_music.checkpoint.mapped import DAMAGED, MappedFile
from rwkv_music.checkpoint.source import CheckpointError, Stored, Weights, first_line

_FLOATS = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}
# Mapping anew reads no header again here, so little is kept; small matrices are float32 in these files, and many.
_WINDOW, _SMALL = 2 << 20, 64 << 10
_BLOCK = re.compile(r"blk\.(\d{1,4})\.(.+)")
# Copies of other tensors that llama.cpp wants in the first layer, where nothing reads them.
_DUMMIES = {f"time_mix_v{n}.weight" for n in "012"}


def read_gguf(path: Path) -> Weights:
    """The tensors by official name, quantised ones as float32. Raises CheckpointError or OSError."""
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                header = read_header(content, _sizes())
        except (GgufError, *DAMAGED) as error:
            raise CheckpointError(f"{path}: not a whole GGUF file ({first_line(error)})") from None
    version = str(header.values.get("general.architecture", ""))
    if version not in NAMINGS:
        raise CheckpointError(f"{path}: a GGUF file of '{version[:40]}'; rwkv6 and rwkv7 can be read")
    mapped = MappedFile(path, partial(_open, path, header), _WINDOW, _SMALL)
    metadata = {name: str(value)[:200] for name, value in header.values.items()}
    try:
        stored = _official(header, NAMINGS[version], version, mapped)
    except GgufError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Weights(path, stored, f"gguf {version}", metadata)


def _sizes() -> dict[int, tuple[int, int]]:
    """Elements and bytes of a block of every type that can be undone."""
    from gguf.constants import GGML_QUANT_SIZES
    from gguf.quants import _type_traits as undone

    return {int(kind): GGML_QUANT_SIZES[kind] for kind in GGML_QUANT_SIZES if kind in undone or int(kind) in _FLOATS}


def _open(path: Path, header: Header) -> Callable[[str], Tensor]:
    # What is written to it stays in this process, and torch takes no memory that may not be written.
    content = np.memmap(path, dtype=np.uint8, mode="c")
    return lambda name: _tensor(content, header.tensors[name])


def _tensor(content: np.ndarray, entry: Entry) -> Tensor:
    """One tensor in the file's own float type, or float32 where it is quantised."""
    raw = content[entry.start : entry.start + entry.bytes]
    if entry.kind in _FLOATS:
        dtype = _FLOATS[entry.kind]
        aligned = raw if entry.start % dtype.itemsize == 0 else raw.copy()
        return torch.from_numpy(aligned).view(dtype).reshape(entry.shape)
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    rows = raw.reshape(*entry.shape[:-1], -1)
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.ascontiguousarray(dequantize(rows, GGMLQuantizationType(entry.kind)), np.float32))


def _official(header: Header, naming: Naming, version: str, mapped: MappedFile) -> dict[str, Stored]:
    rescaled = header.values.get("rwkv6.rescale_every_n_layers", 0) if version == "rwkv6" else 0
    every = rescaled if isinstance(rescaled, int) and 0 < rescaled < 1000 else 0
    stored: dict[str, Stored] = {}
    outside = {theirs: ours for ours, theirs in naming.outside.items()}
    leaves = {theirs: (ours, turn) for ours, (theirs, turn) in naming.leaves.items()}
    apart = {theirs: (ours, naming.leaves.get(ours, (theirs, FLAT))[1]) for ours, theirs in naming.apart.items()}
    for name, entry in header.tensors.items():
        full = name if name.endswith((".weight", ".bias")) else name + ".weight"
        match = _BLOCK.fullmatch(full)
        if match is None:
            if full not in outside:
                raise GgufError(f"unknown tensor '{name}': this is another kind of model")
            stored[outside[full]] = _stored(mapped, name, entry, AS_IS, 1)
            continue
        layer, leaf = int(match[1]), match[2]
        block = f"blocks.{layer}."
        if leaf == FUSED:
            stored |= _fused(mapped, name, entry, naming, block)
        elif version == "rwkv7" and leaf == R_K[1]:
            stored[block + R_K[0]] = _stored(mapped, name, entry, _heads(header, version), 1)
        elif version == "rwkv7" and layer == 0 and leaf in _DUMMIES:
            continue
        elif leaf in leaves or leaf in apart:
            ours, turn = leaves.get(leaf) or apart[leaf]
            scale = 2 ** (layer // every) if every and ours in RESCALED else 1
            stored[block + ours] = _stored(mapped, name, entry, turn, scale)
        else:
            raise GgufError(f"unknown tensor '{name}': this is another kind of model")
    return stored


def _heads(header: Header, version: str) -> Turn:
    size = header.values.get(f"{version}.wkv.head_size")
    if not isinstance(size, int) or not 1 <= size <= 1024:
        raise GgufError(f"it does not say how large a head is ('{version}.wkv.head_size')")
    return Turn(lambda x: x.reshape(-1, size), lambda x: x.flatten())


def _fused(mapped: MappedFile, name: str, entry: Entry, naming: Naming, block: str) -> dict[str, Stored]:
    """The tensors that lie one on the other in (n, 1, 1, C)."""
    if entry.shape[0] != len(naming.fused):
        raise GgufError(f"'{name}' holds {entry.shape[0]} mixes, expected {len(naming.fused)}")
    parts = {}
    for row, ours in enumerate(naming.fused):
        turn = Turn(lambda x, row=row: x[row].reshape(1, 1, -1), lambda x: x)
        parts[block + ours] = _stored(mapped, name, entry, turn, 1)
    return parts


def _stored(mapped: MappedFile, name: str, entry: Entry, turn: Turn, scale: int) -> Stored:
    dtype = _FLOATS.get(entry.kind, torch.float32)
    try:
        shape = tuple(turn.back(torch.empty(entry.shape, device="meta")).shape)
    except RuntimeError:
        raise GgufError(f"'{name}' has shape {list(entry.shape)}, which cannot be turned") from None

    def read() -> Tensor:
        tensor = turn.back(mapped.read(name, entry.shape, dtype)).contiguous()
        return tensor if scale == 1 else tensor * scale

    return Stored(shape, dtype, read)
