"""`CpuKernels`: the Numba loops behind the contract."""

from torch import Tensor, float64, is_grad_enabled

from rwkv_music_kernels.contract import KernelError, check_wkv4, check_wkv6, check_wkv7
from rwkv_music_kernels.cpu.operations import Wkv4, Wkv6, Wkv7, forward4, forward6, forward7
from rwkv_music_kernels.cpu.rows import CHUNK
from rwkv_music_kernels.cpu.threads import HeadPool
from rwkv_music_kernels.cpu.vectors import LANES
from rwkv_music_kernels.packed import Sequences, sequences
from rwkv_music_kernels.reference import ReferenceKernels


class CpuKernels(ReferenceKernels):
    """Numba on the CPU, float32 inside whatever comes in."""

    name = "cpu"

    def __init__(self) -> None:
        self._pool = HeadPool()

    def wkv4(
        self, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv4`. Takes no float64, and C must be a multiple of LANES."""
        pieces, tokens, width = check_wkv4(k, v, w, u, state, cu_seqlens)
        _check(k, width, "models", cu_seqlens)
        where = sequences(pieces, tokens, cu_seqlens, k.device, CHUNK)
        return self._wkv4(where, k, v, w, u, state)

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv6`. Takes no float64, and N must be a multiple of LANES."""
        pieces, tokens, _, size = check_wkv6(r, k, v, w, u, state, cu_seqlens)
        _check(r, size, "heads", cu_seqlens)
        where = sequences(pieces, tokens, cu_seqlens, r.device, CHUNK)
        return self._wkv6(where, r, k, v, w, u, state)

    def wkv7(
        self,
        r: Tensor,
        w: Tensor,
        k: Tensor,
        v: Tensor,
        a: Tensor,
        b: Tensor,
        state: Tensor,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv7`. Takes no float64, and N must be a multiple of LANES."""
        pieces, tokens, _, size = check_wkv7(r, w, k, v, a, b, state, cu_seqlens)
        _check(r, size, "heads", cu_seqlens)
        where = sequences(pieces, tokens, cu_seqlens, r.device, CHUNK)
        return self._wkv7(where, r, w, k, v, a, b, state)

    def _wkv4(self, where: Sequences, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        if _differentiated(tensors):
            return Wkv4.apply(self._pool, where, *tensors)  # pyright: ignore[reportReturnType]
        return forward4(self._pool, where, tensors, keep=False)[:2]

    def _wkv6(self, where: Sequences, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        if _differentiated(tensors):
            return Wkv6.apply(self._pool, where, *tensors)  # pyright: ignore[reportReturnType]
        return forward6(self._pool, where, tensors, keep=False)[:2]

    def _wkv7(self, where: Sequences, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        if _differentiated(tensors):
            return Wkv7.apply(self._pool, where, *tensors)  # pyright: ignore[reportReturnType]
        return forward7(self._pool, where, tensors, keep=False)[:2]


def _check(lead: Tensor, channels: int, whose: str, cu_seqlens: Tensor | None) -> None:
    if lead.device.type != "cpu":
        raise KernelError(f"the kernels 'cpu' run on the CPU, not on {lead.device}; choose 'torch'")
    if lead.dtype == float64:
        raise KernelError("the kernels 'cpu' count in float32; choose 'reference' or 'torch' for float64")
    if channels % LANES:
        raise KernelError(
            f"the kernels 'cpu' take {whose} of a multiple of {LANES} channels, not {channels}; choose 'torch'"
        )
    # The loops take them for addresses.
    ends = [0, lead.shape[1]] if cu_seqlens is None else cu_seqlens.tolist()
    if ends[0] != 0 or ends[-1] != lead.shape[1] or sorted(ends) != ends:
        raise KernelError(f"cu_seqlens must start at 0, never fall and end at {lead.shape[1]}")


def _differentiated(tensors: tuple[Tensor, ...]) -> bool:
    return is_grad_enabled() and any(x.requires_grad for x in tensors)
