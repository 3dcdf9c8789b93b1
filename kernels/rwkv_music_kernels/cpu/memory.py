"""Memory for weights, in huge pages where the system has them, which is read faster than many small ones."""

import math
import mmap
from contextlib import suppress

import torch
from torch import Tensor

# Address space is taken so much at a time; what is not written to costs no memory.
_CHUNK = 256 << 20
# A cache line.
_ALIGNED = 64


class Store:
    """Tensors one behind the other; each keeps alive the memory that it shares with others."""

    def __init__(self) -> None:
        self._chunk: mmap.mmap | None = None
        self._used = 0

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Like `torch.empty`."""
        # A hint that Linux alone takes.
        hint = getattr(mmap, "MADV_HUGEPAGE", None)
        count = math.prod(shape)
        if hint is None or count == 0:
            return torch.empty(shape, dtype=dtype)
        size = count * dtype.itemsize
        if self._chunk is None or self._used + size > len(self._chunk):
            self._chunk = mmap.mmap(-1, max(size, _CHUNK), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._used = 0
            # A system without huge pages takes no such hint, and needs none.
            with suppress(OSError):
                self._chunk.madvise(hint)
        tensor = torch.frombuffer(self._chunk, dtype=dtype, count=count, offset=self._used).view(shape)
        self._used += size + -size % _ALIGNED
        return tensor
