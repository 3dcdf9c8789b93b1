"""The recurrences as plain loops in torch, the truth every other backend is held to."""

import torch
from torch import Tensor

from rwkv_music_kernels.contract import Kernels, check_wkv7


class ReferenceKernels(Kernels):
    """Loops over tokens, float32 or float64; autograd works through them. Slow, on any device."""

    name = "reference"

    def wkv7(
        self, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv7`; where all seven are float64, so are the sums and the new state."""
        check_wkv7(r, w, k, v, a, b, state)
        with torch.autocast(r.device.type, enabled=False):
            return wkv7_steps(r, w, k, v, a, b, state)


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
