"""The dimensions of a model, read off the names and shapes of its tensors."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

BLOCK = re.compile(r"blocks\.(\d+)\.")


class ModelError(ValueError):
    """Tensors that are no model we can run: says which name or shape, and what it should have been."""


@dataclass(frozen=True)
class Spec:
    """What every RWKV version has in common."""

    version: str
    layers: int
    # Channels of the residual stream.
    width: int
    heads: int
    # Channels of one head; heads * head_size = width.
    head_size: int
    # Hidden channels of the channel mix.
    ffn: int
    # Number of token ids.
    vocabulary: int

    def blank_memory(self, batch: int, device: str | torch.device = "cpu") -> Tensor:
        """What the time mixes of all layers remember before the first token: (L, B, H, N, N) zeros, float32."""
        return torch.zeros(self.layers, batch, self.heads, self.head_size, self.head_size, device=device)


def count_layers(names: Iterable[str]) -> int:
    """One more than the highest block number. Raises ModelError when the numbers have a gap or there are none."""
    numbers = {int(match[1]) for name in names if (match := BLOCK.match(name))}
    if not numbers or numbers != set(range(len(numbers))):
        raise ModelError("the tensors named 'blocks.N.…' must be numbered 0, 1, 2, … without a gap")
    return len(numbers)


def dimensions(shapes: Shapes, name: str, count: int) -> tuple[int, ...]:
    """The shape of tensor `name`, which must have `count` dimensions, all positive."""
    shape = shapes.get(name)
    if shape is None:
        raise ModelError(f"no tensor named '{name}'")
    if len(shape) != count or min(shape) < 1:
        raise ModelError(f"'{name}' has shape {list(shape)}, expected {count} dimensions")
    return shape
