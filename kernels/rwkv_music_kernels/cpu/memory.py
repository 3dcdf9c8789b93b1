"""Memory for weights and for many rows, in huge pages where the system has them, read faster than many small ones."""

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
    """Tensors one behind the other, whose memory lives as long as the store, or as any of them.

    Whoever needs no more than an address need not keep the tensor: hundreds of such small objects lie scattered over
    the heap and hold on to its pages.
    """

    def __init__(self) -> None:
        self._chunks: list[mmap.mmap] = []
        self._apart: list[Tensor] = []
        self._used = 0

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Like `torch.empty`."""
        # A hint that Linux alone takes.
        hint = getattr(mmap, "MADV_HUGEPAGE", None)
        count = math.prod(shape)
        if hint is None or count == 0:
            self._apart.append(torch.empty(shape, dtype=dtype))
            return self._apart[-1]
        size = count * dtype.itemsize
        if not self._chunks or self._used + size > len(self._chunks[-1]):
            self._chunks.append(mmap.mmap(-1, max(size, _CHUNK), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            self._used = 0
            # A system without huge pages takes no such hint, and needs none.
            with suppress(OSError):
                self._chunks[-1].madvise(hint)
        tensor = torch.frombuffer(self._chunks[-1], dtype=dtype, count=count, offset=self._used).view(shape)
        self._used += size + -size % _ALIGNED
        return tensor
