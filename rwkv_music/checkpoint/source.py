"""Weights that lie in a file and are read tensor by tensor: names and shapes first, numbers when asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class CheckpointError(ValueError):
    """A weights file that cannot be used: the path and the reason in one line."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: known by shape and type, read when asked for.

    `read` makes a tensor of that shape and type on the CPU. It may be a view of the file: whoever changes it in place
    changes what others read, and never the file.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class Weights(Mapping[str, Tensor]):
    """The tensors of one checkpoint by their official names, on the CPU, in the file's own types.

    Opening reads no numbers: a tensor is made each time it is asked for, and it is then that its values are checked.
    Asking for one that holds anything but finite numbers raises CheckpointError, so whoever reads all has checked all,
    and whoever reads only `shapes` has checked none. What is asked for is not kept here: reading tensor after tensor
    needs the memory of one tensor besides what the caller keeps.
    """

    def __init__(
        self, path: Path, tensors: Mapping[str, Stored], layout: str, metadata: Mapping[str, str] | None = None
    ):
        """`layout`: the layout that the file was in; `metadata`: what its header says besides the tensors.

        Raises CheckpointError when a tensor is none of float32, bfloat16 and float16.
        """
        self.path = path
        self.layout = layout
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.tensors: Mapping[str, Stored] = MappingProxyType(dict(tensors))
        for name, stored in tensors.items():
            if stored.dtype not in DTYPES:
                raise CheckpointError(f"{path}: '{name}' is {stored.dtype}, expected float32, bfloat16 or float16")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor; reads no numbers."""
        return {name: stored.shape for name, stored in self.tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors[name].read()
        if not is_finite(tensor):
            raise CheckpointError(f"{self.path}: '{name}' holds values that are not finite numbers")
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is infinite or no number; without a copy of the tensor."""
    if tensor.numel() == 0:
        return True
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def first_line(error: BaseException) -> str:
    """What an error says, cut to one short line."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
