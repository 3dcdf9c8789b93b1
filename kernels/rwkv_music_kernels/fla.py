"""The recurrences of flash-linear-attention (PyPI `fla-core`), for those who have it: a second opinion on GPUs."""

from torch import Tensor

from rwkv_music_kernels.chunked import ChunkedKernels
from rwkv_music_kernels.contract import LEAST_LOG_DECAY, check_wkv6, check_wkv7

# `fla` takes RWKV-7's chunks of this many tokens as safe where the decay has RWKV-7's bound.
_CHUNK = 64


class FlaKernels(ChunkedKernels):
    """RWKV-5, 6 and 7 by `fla`; what it has not, RWKV-4 with a state of three sums, is plain torch.

    Its states are [key, value], so they are turned on the way in and out. Needs a GPU that Triton knows.
    """

    name = "fla"

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv6`."""
        from fla.ops.rwkv6 import chunk_rwkv6  # pyright: ignore[reportMissingImports]

        check_wkv6(r, k, v, w, u, state, cu_seqlens)
        start = state.mT.contiguous()
        y, end = chunk_rwkv6(
            r, k, v, w, u, scale=1.0, initial_state=start, output_final_state=True, cu_seqlens=cu_seqlens
        )
        return y.to(v.dtype), end.float().mT.contiguous()

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
        """See `Kernels.wkv7`."""
        from fla.ops.rwkv7 import chunk_rwkv7  # pyright: ignore[reportMissingImports]

        check_wkv7(r, w, k, v, a, b, state, cu_seqlens)
        y, end = chunk_rwkv7(
            r,
            w,
            k,
            v,
            a,
            b,
            scale=1.0,
            initial_state=state.mT.contiguous(),
            output_final_state=True,
            cu_seqlens=cu_seqlens,
            safe_gate=True,
            chunk_size=_CHUNK,
            lower_bound=LEAST_LOG_DECAY,
        )
        return y.to(v.dtype), end.float().mT.contiguous()
