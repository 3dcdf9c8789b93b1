"""What every RWKV version is made of: maps of low rank, norms, weights by a prefix of their names."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music_kernels.contract import Kernels


def low_rank(
    kernels: Kernels, x: Tensor, down: Tensor, up: Tensor, between: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """between(x down) up, computed in the type of the weights. x: (B, T, C), down: (C, R), up: (R, C)."""
    hidden = kernels.linear(x, down.T)
    return kernels.linear(between(hidden) if between else hidden, up.T)


def wide(x: Tensor) -> Tensor:
    """At least float32: what is float64 stays so."""
    return x if x.dtype == torch.float64 else x.float()


def last_tokens(x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """The last token of each piece (B, C) of x (B, T, C); of each packed document (S, C), `last` where it is empty."""
    if cu_seqlens is None:
        return x[:, -1]
    stops = cu_seqlens[1:]
    return torch.where((cu_seqlens.diff() > 0)[:, None], x[0, (stops - 1).clamp_min(0)], last)


class Prefixed:
    """The weights whose names begin with `prefix`, by the rest of their name."""

    def __init__(self, weights: Mapping[str, Tensor], prefix: str):
        self.weights = weights
        self.prefix = prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def of(self, prefix: str) -> "Prefixed":
        """Those whose names go on with `prefix`."""
        return Prefixed(self.weights, self.prefix + prefix)

    def norm(self, x: Tensor, name: str) -> Tensor:
        """LayerNorm of x (..., C) by the weight and bias called `name`, epsilon 1e-5."""
        return F.layer_norm(x, x.shape[-1:], self[name + ".weight"], self[name + ".bias"])

    def vector(self, name: str) -> Tensor:
        """A weight of C numbers without the dimensions of one that official files give it."""
        return self[name].flatten()
