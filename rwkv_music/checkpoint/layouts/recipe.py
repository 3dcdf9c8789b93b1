"""Recipes: an official tensor made of the tensors of a file, its shape known before any numbers are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from rwkv_music.checkpoint.source import Stored

EMPTY: Mapping[str, Any] = MappingProxyType({})


class LayoutError(ValueError):
    """Tensors that their layout cannot have: says which."""


@dataclass(frozen=True)
class Contents:
    """What is known of a file before any numbers are read. Prefixes of training frameworks are off the names."""

    shapes: Mapping[str, tuple[int, ...]]
    # Of a safetensors header.
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    # Of the config.json beside the weights.
    config: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    # Whether torch.save wrote it, as it writes official files.
    archive: bool = False


@dataclass(frozen=True)
class Recipe:
    """One tensor: `make` of the tensors called `sources`; None: the one tensor as it is."""

    sources: tuple[str, ...]
    make: Callable[..., Tensor] | None = None


@dataclass(frozen=True)
class Layout:
    """A way to name and arrange the tensors of a model.

    fits: whether a file is in this layout; recipes: its official tensors. Names that a layout does not know go through
    as they are, so that whoever runs the model can say what they are.
    """

    name: str
    fits: Callable[[Contents], bool]
    recipes: Callable[[Contents], dict[str, Recipe]]


@dataclass(frozen=True)
class Change:
    """What happens to a tensor between its official form and that of another layout, both ways."""

    read: Callable[[Tensor], Tensor] | None = None
    write: Callable[[Tensor], Tensor] | None = None


def as_vector(tensor: Tensor) -> Tensor:
    """(1, 1, C) as official vectors are. Not by squeezing and unsqueezing, which trips over other sizes of one."""
    return tensor.reshape(1, 1, -1)


def flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1)


def swapped(tensor: Tensor) -> Tensor:
    """The last two dimensions exchanged."""
    return tensor.transpose(-2, -1)


SAME = Change()
VECTOR = Change(as_vector, as_vector)
FLAT_VECTOR = Change(as_vector, flat)
FLAT = Change(None, flat)
SWAPPED = Change(swapped, swapped)


def follow(recipes: Mapping[str, Recipe], stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """The tensors that recipes make, which read when they are asked for. Raises LayoutError for impossible shapes."""
    made: dict[str, Stored] = {}
    for name, recipe in recipes.items():
        sources = [stored[source] for source in recipe.sources]
        if recipe.make is None:
            made[name] = sources[0]
            continue
        try:
            blank = recipe.make(*(torch.empty(s.shape, dtype=s.dtype, device="meta") for s in sources))
        except (RuntimeError, IndexError, ValueError) as error:
            shapes = ", ".join(str(list(source.shape)) for source in sources)
            raise LayoutError(f"'{recipe.sources[0]}' has shape {shapes}, which makes no '{name}'") from error
        made[name] = Stored(tuple(blank.shape), blank.dtype, partial(_make, recipe.make, sources))
    return made


def _make(make: Callable[..., Tensor], sources: list[Stored]) -> Tensor:
    return make(*(source.read() for source in sources)).contiguous()
