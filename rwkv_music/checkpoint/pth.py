"""PyTorch archives (.pth): checked as a zip and as a pickle before anything in them is followed."""

import io
import os
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from rwkv_music.checkpoint.mapped import DAMAGED, MappedFile
from rwkv_music.checkpoint.names import check_names, find_tensors
from rwkv_music.checkpoint.source import CheckpointError, Stored, first_line

# A model of 100 layers takes a hundredth of each.
DIRECTORY_LIMIT = 16 << 20
PICKLE_LIMIT = 16 << 20
STEP_LIMIT = 500_000
END_OF_ARCHIVE = b"PK\x05\x06"
END_OF_ARCHIVE_64 = b"PK\x06\x06"
# What a dictionary of tensors is made of. weights_only allows more, such as an array of any length.
HARMLESS = re.compile(
    r"collections OrderedDict|torch Size|torch (bfloat16|float16|float32)"
    r"|torch\._utils (_rebuild_tensor|_rebuild_tensor_v2|_rebuild_parameter)"
    r"|torch \w+Storage|torch\.storage (Untyped|Typed)Storage"
)


class ArchiveError(ValueError):
    """An archive that is not what torch.save writes; says why."""


def read_pth(path: Path) -> dict[str, Stored]:
    """The tensors of a file that torch.save wrote, by the names in it. Raises CheckpointError or OSError."""
    with path.open("rb") as file:
        try:
            check_archive(file)
            tensors = _load(path)
            check_names(tensors or ())
        except (OSError, *DAMAGED) as error:
            raise CheckpointError(f"{path}: not a whole PyTorch weights file ({first_line(error)})") from None
        size = file.seek(0, os.SEEK_END)
    if tensors is None:
        raise CheckpointError(f"{path}: no named tensors in this file")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise CheckpointError(f"{path}: '{name}' is no plain tensor of numbers")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{path}: '{name}' claims more numbers than the file holds")
    # Twice, because a file may share tensors between names.
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > 2 * size:
        raise CheckpointError(f"{path}: the tensors claim more numbers than the file holds")
    kinds = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    mapped = MappedFile(path, partial(_open, path))
    return {
        name: Stored(shape, dtype, partial(mapped.read, name, shape, dtype)) for name, (shape, dtype) in kinds.items()
    }


def _load(path: Path) -> Mapping[str, Tensor] | None:
    return find_tensors(torch.load(path, map_location="cpu", weights_only=True, mmap=True))


def _open(path: Path) -> Callable[[str], Tensor]:
    return (_load(path) or {}).__getitem__


def check_archive(file: IO[bytes]) -> None:
    """Raises ArchiveError (or what zipfile raises) for an archive that torch.save would not have written."""
    size = file.seek(0, os.SEEK_END)
    if _directory_size(file, size) > DIRECTORY_LIMIT:
        raise ArchiveError("its list of contents is too long")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > size:
            raise ArchiveError("it unpacks to more than its own size")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ArchiveError("its contents are compressed")
        if any(entry.filename.endswith("constants.pkl") for entry in entries):
            raise ArchiveError("it is a TorchScript program")
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > PICKLE_LIMIT:
            raise ArchiveError("it holds no table of tensors, or one too long")
        _check_pickle(archive.read(pickles[0]))


def _directory_size(file: IO[bytes], size: int) -> int:
    """Bytes that the central directory claims, read off the end of the archive without reading the directory."""
    start = max(0, size - (1 << 16) - 128)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(END_OF_ARCHIVE)
    if end < 0 or end + 22 > len(tail):
        raise ArchiveError("it is no zip archive as PyTorch has written since 1.6")
    (claimed,) = struct.unpack_from("<I", tail, end + 12)
    end_64 = tail.rfind(END_OF_ARCHIVE_64)
    if end_64 >= 0 and end_64 + 56 <= len(tail):
        (claimed_64,) = struct.unpack_from("<Q", tail, end_64 + 40)
        claimed = claimed_64 if claimed == 0xFFFFFFFF else max(claimed, claimed_64)
    return claimed


def _check_pickle(content: bytes) -> None:
    """Raises ArchiveError when a pickle, stepped through and not executed, names more than tensors are made of."""
    for step, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(content))):
        if step > STEP_LIMIT:
            raise ArchiveError("its table of tensors is too long")
        if opcode.name == "GLOBAL" and not HARMLESS.fullmatch(str(argument)):
            raise ArchiveError(f"it holds '{str(argument)[:60]}', and weights are tensors alone".replace("\n", " "))
        if opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise ArchiveError("it holds objects that are no tensors")
