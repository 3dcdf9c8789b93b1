"""The recurrences as plain loops in torch, the truth every other backend is held to."""

import torch
from torch import Tensor

from rwkv_music_kernels.contract import Kernels, check_wkv4, check_wkv6, check_wkv7
from rwkv_music_kernels.elementwise import PlainElementwise
from rwkv_music_kernels.packed import each_document


class ReferenceKernels(PlainElementwise, Kernels):
    """Loops over tokens, float32 or float64; autograd works through them. Slow, on any device."""

    name = "reference"

    def wkv4(
        self, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv4`; where all are float64, so are the sums and the new state."""
        check_wkv4(k, v, w, u, state, cu_seqlens)
        with torch.autocast(k.device.type, enabled=False):
            if cu_seqlens is None:
                return wkv4_steps(k, v, w, u, state)
            return each_document(lambda k, v, own: wkv4_steps(k, v, w, u, own), (k, v), state, cu_seqlens)

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv6`; where all are float64, so are the sums and the new state."""
        check_wkv6(r, k, v, w, u, state, cu_seqlens)
        with torch.autocast(r.device.type, enabled=False):
            if cu_seqlens is None:
                return wkv6_steps(r, k, v, w, u, state)
            return each_document(
                lambda r, k, v, w, own: wkv6_steps(r, k, v, w, u, own), (r, k, v, w), state, cu_seqlens
            )

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
        """See `Kernels.wkv7`; where all seven are float64, so are the sums and the new state."""
        check_wkv7(r, w, k, v, a, b, state, cu_seqlens)
        with torch.autocast(r.device.type, enabled=False):
            if cu_seqlens is None:
                return wkv7_steps(r, w, k, v, a, b, state)
            return each_document(wkv7_steps, (r, w, k, v, a, b), state, cu_seqlens)


def wkv4_steps(k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """`Kernels.wkv4`, token by token, in the dtype of `state`; the caller has checked and left autocast."""
    kind = v.dtype
    k, v, w, u = (x.to(state.dtype) for x in (k, v, w, u))
    above, below, top = state.unbind(1)
    ys = []
    for t in range(k.shape[1]):
        k_t, v_t = k[:, t], v[:, t]
        q = torch.maximum(top, u + k_t)
        old, new = (top - q).exp(), (u + k_t - q).exp()
        ys.append((old * above + new * v_t) / (old * below + new))
        q = torch.maximum(top + w, k_t)
        old, new = (top + w - q).exp(), (k_t - q).exp()
        above, below, top = old * above + new * v_t, old * below + new, q
    y = torch.stack(ys, dim=1).to(kind) if ys else torch.empty_like(v, dtype=kind)
    return y, torch.stack((above, below, top), dim=1)


def wkv6_steps(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """`Kernels.wkv6`, token by token, in the dtype of `state`; the caller has checked and left autocast."""
    kind = v.dtype
    r, k, v, w, u = (x.to(state.dtype) for x in (r, k, v, w, u))
    if r.shape[1] == 0:
        return torch.empty_like(v, dtype=kind), state.clone()
    decay = w.exp()
    ys = []
    for t in range(r.shape[1]):
        # A column is (B, H, N, 1), a row is (B, H, 1, N).
        column, row = v[:, t, :, :, None], k[:, t, :, None, :]
        seen = state + column * (u[:, None, :] * row)
        ys.append((seen @ r[:, t, :, :, None])[..., 0])
        state = state * decay[:, t, :, None, :] + column * row
    return torch.stack(ys, dim=1).to(kind), state


def wkv7_steps(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """`Kernels.wkv7`, token by token, in the dtype of `state`; the caller has checked and left autocast."""
    kind = v.dtype
    r, w, k, v, a, b = (x.to(state.dtype) for x in (r, w, k, v, a, b))
    if r.shape[1] == 0:
        return torch.empty_like(v, dtype=kind), state.clone()
    decay = w.exp()
    ys = []
    for t in range(r.shape[1]):
        # A column is (B, H, N, 1), a row is (B, H, 1, N).
        moved = (state @ a[:, t, :, :, None]) * b[:, t, :, None, :]
        written = v[:, t, :, :, None] * k[:, t, :, None, :]
        state = state * decay[:, t, :, None, :] + moved + written
        ys.append((state @ r[:, t, :, :, None])[..., 0])
    return torch.stack(ys, dim=1).to(kind), state
