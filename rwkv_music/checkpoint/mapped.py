"""A file of tensors, mapped into memory, and mapped anew before its pages fill it."""

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from rwkv_music.checkpoint.source import CheckpointError, first_line

# What reading a damaged archive, pickle or header raises, whichever byte of it is wrong.
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
    SafetensorError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)
# The pages that were read stay in memory as long as their mapping: this much at most, besides what the caller keeps.
WINDOW = 16 << 20
# A tensor smaller than this is copied, so that keeping it keeps no mapping.
SMALL = 1 << 20


class MappedFile:
    """Reads tensors through `open_tensors`, which maps the file and returns a function from names to tensors."""

    def __init__(
        self,
        path: Path,
        open_tensors: Callable[[], Callable[[str], Tensor]],
        window: int | None = None,
        small: int = SMALL,
    ):
        """window (None: WINDOW), small: bytes as told there, less for a form of file that is mapped anew at no cost."""
        self.path = path
        self.window, self.small = WINDOW if window is None else window, small
        self.open_tensors = open_tensors
        self._tensor = open_tensors()
        self._read = 0

    def read(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The tensor of that name. Raises CheckpointError when the file no longer holds it so."""
        try:
            if self._read > self.window:
                self._tensor, self._read = self.open_tensors(), 0
            tensor = self._tensor(name).detach()
        except (OSError, *DAMAGED) as error:
            raise CheckpointError(f"{self.path}: '{name}' cannot be read ({first_line(error)})") from None
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise CheckpointError(f"{self.path}: '{name}' changed while the file was read")
        size = tensor.numel() * tensor.element_size()
        self._read += size
        return tensor.clone() if size < self.small else tensor
