"""The steps that every RWKV version is made of: linear maps, the token before, weights by a prefix of their names."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T, computed in the type of the weights."""
    return F.linear(x.to(weight.dtype), weight)


def low_rank(x: Tensor, down: Tensor, up: Tensor, between: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """between(x down) up, computed in the type of the weights. x: (B, T, C), down: (C, R), up: (R, C)."""
    hidden = x.to(down.dtype) @ down
    return (between(hidden) if between else hidden) @ up


def shift(x: Tensor, last: Tensor) -> Tensor:
    """Every token's predecessor. x: (B, T, C); last: (B, C), the token before the first."""
    return torch.cat([last[:, None].to(x.dtype), x[:, :-1]], dim=1)


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
