"""What every RWKV version is made of: maps of low rank, norms, weights by a prefix of their names."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from rwkv_music_kernels.contract import Kernels


def low_rank(
    kernels: Kernels, x: Tensor, down: Tensor, up: Tensor, between: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """between(x down) up, computed in the type of the weights. x: (B, T, C), down: (C, R), up: (R, C)."""
    hidden = kernels.linear(x, down.T)
    return kernels.linear(between(hidden) if between else hidden, up.T)


class Prefixed:
    """The weights whose names begin with `prefix`, by the rest of their name."""

    def __init__(self, weights: Mapping[str, Tensor], prefix: str):
        self.weights = weights
        self.prefix = prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def norm(self, x: Tensor, name: str) -> Tensor:
        """LayerNorm of x (..., C) by the weight and bias called `name`, epsilon 1e-5."""
        return F.layer_norm(x, x.shape[-1:], self[name + ".weight"], self[name + ".bias"])

    def vector(self, name: str) -> Tensor:
        """A weight of C numbers without the dimensions of one that official files give it."""
        return self[name].flatten()
