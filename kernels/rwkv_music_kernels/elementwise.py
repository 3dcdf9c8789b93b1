"""What surrounds the recurrences, token by token and channel by channel, in plain torch: the truth fused kernels keep."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music_kernels.contract import GROUP_NORM_EPS, check_shift


class PlainElementwise:
    """The elementwise half of `Kernels`, on any device; autograd works through it."""

    def shift_mix(
        self, x: Tensor, last: Tensor, mixes: Sequence[Tensor], cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """See `Kernels.shift_mix`."""
        check_shift(x, last, cu_seqlens)
        last = last.to(x.dtype)
        before = torch.cat([last[: x.shape[0], None], x[:, :-1]], dim=1)
        if cu_seqlens is not None:
            starts, filled = cu_seqlens[:-1], cu_seqlens.diff() > 0
            before = before.index_copy_(1, starts[filled], last[filled][None])
        change = before - x
        return tuple(torch.addcmul(x, change, mix) for mix in mixes)

    def removal_key(
        self, k: Tensor, rate: Tensor, k_k: Tensor, k_a: Tensor, heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Kernels.removal_key`; kk is made of k before it is weakened."""
        shape = (*k.shape[:2], heads, -1)
        wide = torch.float64 if k.dtype == torch.float64 else torch.float32
        kk = F.normalize((k * k_k).to(wide).view(shape), dim=-1, eps=1e-12)
        rate = rate.to(wide)
        weakened = torch.addcmul(k.to(wide), (k * k_a).to(wide), rate - 1)
        return weakened.view(shape), -kk, kk * rate.view(shape)

    def read_out(
        self, y: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, bonus: Tensor | None = None
    ) -> Tensor:
        """See `Kernels.read_out`."""
        rows, shape = y.flatten(2), (y.shape[0] * y.shape[1], -1)
        out = F.group_norm(rows.reshape(shape), y.shape[2], weight, bias, GROUP_NORM_EPS).view(rows.shape)
        if bonus is not None:
            out = out + bonus.reshape(rows.shape)
        return out if gate is None else out * gate

    def squared_relu(self, x: Tensor) -> Tensor:
        """See `Kernels.squared_relu`."""
        x = torch.relu(x)
        return x * x

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `Kernels.linear`."""
        return F.linear(x.to(weight.dtype), weight)

    def bonus(self, r: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> Tensor:
        """See `Kernels.bonus`."""
        return (r * k * weight).sum(-1, keepdim=True) * v
