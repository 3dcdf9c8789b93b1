"""Styles: what a model remembers before the first token, tuned on some music, in a file of its own; and mixes of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from rwkv_music.errors import UserError
from rwkv_music.files import write_whole
from rwkv_music.library import MOST_STYLES, ModelFiles, find_style
from rwkv_music.model.spec import Spec
from rwkv_music.sealed import SealedError, header_of, read_beginning, read_sealed, seal, unseal

FORMAT = "rwkv-music style 1"
THING = "a style (state tuning makes one)"
# Levels of lists and objects in a label.
DEEPEST = 16


class StyleError(UserError):
    """A style that cannot be used: damaged, for another model, or in a mix that means nothing."""


@dataclass(frozen=True)
class StyleLabel:
    """What a style says about itself in plain data."""

    name: str
    # The model it was tuned for, the sha256 of its weights, its RWKV version and its tokenizer.
    base: str
    base_hash: str
    version: str
    tokenizer: str
    # Which music, and how it was trained, as plain JSON data.
    made_of: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    made_by: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, eq=False)
class Style:
    """memory: (L, 1, H, N, N) as [value, key], or RWKV-4's (L, 1, 3, C), see `State`; float32."""

    label: StyleLabel
    memory: Tensor


def save_style(style: Style, path: Path) -> None:
    """Write a style, whole or not at all. Raises OSError."""
    plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(style.label).items()}
    write_whole(path, seal(FORMAT, plain, {"memory": style.memory.detach().cpu().contiguous()}))


def read_style_label(path: Path) -> StyleLabel:
    """What the style in a file says about itself. Raises SealedError, or OSError."""
    return _label(path, header_of(path, read_beginning(path), FORMAT, THING))


def load_style(path: Path, spec: Spec, base_hash: str) -> Style:
    """The style in a file, for the model of that spec and hash. Raises StyleError, SealedError, or OSError."""
    content = read_sealed(path)
    header = header_of(path, content, FORMAT, THING)
    label = _label(path, header)
    if label.base_hash != base_hash:
        raise StyleError(
            f"the style {path} was made for {label.base} (sha256 {label.base_hash[:12]}), "
            f"this model is another one ({base_hash[:12]}): choose that one with --model"
        )
    expected, entry = list(spec.blank_memory(1, "meta").shape), header.get("memory")
    if set(header) != {"__metadata__", "memory"} or not isinstance(entry, dict) or entry.get("shape") != expected:
        raise StyleError(f"{path}: a style for this model holds one tensor 'memory' {expected}")
    memory = unseal(path, content, header)["memory"]
    if memory.dtype != torch.float32 or not torch.isfinite(memory).all():
        raise StyleError(f"{path}: the memory of a style is finite float32 numbers")
    if spec.version == "4" and bool((memory[:, :, 1] < 0).any()):
        raise StyleError(f"{path}: the weights that RWKV-4 remembers are never below 0")
    return Style(label, memory)


def mixed_memory(
    named: Sequence[tuple[str, float]], files: ModelFiles, spec: Spec, base_hash: str, ground: Tensor | None
) -> Tensor:
    """What a model begins with under some styles, each by name or file and with its weight; (L, 1, ...) float32.

    ground: what it begins with under none, None for nothing. A weight of 0 takes nothing from a style, and 1 all.
    Raises UserError for a style there is not, or that is another model's; OSError.
    """
    if len(named) > MOST_STYLES:
        raise StyleError(f"at most {MOST_STYLES} styles can be mixed, not {len(named)}")
    found = [(load_style(find_style(name, files), spec, base_hash).memory, weight) for name, weight in named]
    if spec.version == "4":
        if negative := next((name for name, weight in named if weight < 0), None):
            raise StyleError(f"the style {negative}: RWKV-4 cannot begin with less than nothing; give a weight above 0")
        return _mixed_sums(found)
    ground = spec.blank_memory(1) if ground is None else ground
    return ground + torch.stack([weight * (memory - ground) for memory, weight in found]).sum(dim=0)


def _mixed_sums(found: Sequence[tuple[Tensor, float]]) -> Tensor:
    """RWKV-4's: the sums added up as if unscaled, and scaled again by the largest exponent of them."""
    top = torch.stack([memory[:, :, 2] for memory, _ in found]).amax(dim=0)
    scaled = [weight * memory[:, :, :2] * (memory[:, :, 2] - top).exp()[:, :, None] for memory, weight in found]
    return torch.cat([torch.stack(scaled).sum(dim=0), top[:, :, None]], dim=2)


def _label(path: Path, header: Mapping[str, Any]) -> StyleLabel:
    try:
        plain = json.loads(header["__metadata__"]["label"])
        label = StyleLabel(**plain)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SealedError(f"{path}: the style's label cannot be read") from None
    texts = [name for name in (each.name for each in fields(StyleLabel)) if not name.startswith("made_")]
    if not all(isinstance(plain[name], str) for name in texts) or not (
        isinstance(label.made_of, dict) and isinstance(label.made_by, dict) and not _is_deeper(plain, DEEPEST)
    ):
        raise SealedError(f"{path}: the style's label holds texts, and objects that say what it was made of and by")
    return label


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_deeper(each, levels - 1) for each in inner)


def told(path: Path) -> dict[str, Any]:
    """What a style's file says about itself, for people. Raises SealedError, or OSError."""
    return asdict(read_style_label(path))
