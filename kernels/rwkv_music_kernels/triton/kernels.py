"""`TritonKernels`: the recurrences on a GPU behind the contract."""

import torch
from torch import Tensor, float64, is_grad_enabled

from rwkv_music_kernels.contract import KernelError, check_wkv4, check_wkv6, check_wkv7
from rwkv_music_kernels.packed import sequences
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_kernels.triton import wkv4, wkv6, wkv6_chunk, wkv7, wkv7_chunk
from rwkv_music_kernels.triton.chunks import chunks, many
from rwkv_music_kernels.triton.elementwise import TritonElementwise
from rwkv_music_kernels.triton.sequences import CHUNK

SIZES = (32, 64, 128)


class TritonKernels(TritonElementwise, ReferenceKernels):
    """Triton, float32 inside whatever comes in; any number of tokens, heads of 32, 64 or 128 channels."""

    name = "triton"

    def wkv4(
        self, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv4`. Takes no float64."""
        pieces, tokens, _ = check_wkv4(k, v, w, u, state, cu_seqlens)
        _check(k)
        where = sequences(pieces, tokens, cu_seqlens, k.device, CHUNK)
        return wkv4.run([k, v, w, u], state, where, _learning(k, v, w, u, state))

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv6`. Takes no float64, and N must be one of SIZES; `many` says how it is counted."""
        pieces, tokens, _, size = check_wkv6(r, k, v, w, u, state, cu_seqlens)
        _check(r, size)
        if many(r, state):
            return wkv6_chunk.run([r, k, v, w, u], state, chunks(pieces, tokens, cu_seqlens, r.device))
        where = sequences(pieces, tokens, cu_seqlens, r.device, CHUNK)
        return wkv6.run([r, k, v, w, u], state, where, _learning(r, k, v, w, u, state))

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
        """See `Kernels.wkv7`. Takes no float64, and N must be one of SIZES; `many` says how it is counted."""
        pieces, tokens, _, size = check_wkv7(r, w, k, v, a, b, state, cu_seqlens)
        _check(r, size)
        if many(r, state):
            return wkv7_chunk.run([r, w, k, v, a, b], state, chunks(pieces, tokens, cu_seqlens, r.device))
        where = sequences(pieces, tokens, cu_seqlens, r.device, CHUNK)
        return wkv7.run([r, w, k, v, a, b], state, where, _learning(r, w, k, v, a, b, state))


def _check(x: Tensor, size: int = SIZES[0]) -> None:
    if x.dtype == float64:
        raise KernelError("the kernels 'triton' count in float32; choose 'reference' or 'torch' for float64")
    if size not in SIZES:
        raise KernelError(f"the kernels 'triton' take heads of {SIZES} channels, not {size}")


def _learning(*tensors: Tensor) -> bool:
    return is_grad_enabled() and any(x.requires_grad for x in tensors) or torch.compiler.is_compiling()
