"""Weights written for us and for others: official `.pth`, safetensors, and flash-linear-attention's folders."""

import json
import re
import secrets
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal

import torch
from torch import Tensor

from rwkv_music.checkpoint.layouts import fla6, fla7
from rwkv_music.checkpoint.layouts.recipe import LayoutError, follow
from rwkv_music.checkpoint.source import DTYPES, CheckpointError, Stored, Weights
from rwkv_music.files import FileError, refuse_overwriting

Written = Literal["official", "safetensors", "fla"]

TYPES = dict(zip(DTYPES, ("F32", "BF16", "F16"), strict=True))
MODEL = "model.safetensors"
CONFIG = "config.json"
LAYER = re.compile(r"blocks\.(\d+)\.")


def save_checkpoint(weights: Mapping[str, Tensor], path: Path, layout: Written, *, force: bool = False) -> None:
    """Write a model, whole or not at all, in the types that its tensors have.

    weights: by official names, in official shapes. layout: "official", a `.pth` as torch.save writes it; "safetensors",
    one file with official names; "fla", RWKV-6 or RWKV-7 as flash-linear-attention names them, a folder with
    model.safetensors and config.json, or the weights alone where `path` ends in .safetensors. From `Weights`,
    safetensors are written tensor by tensor; a `.pth` is mapped or held as a whole. Raises FileError for a path that
    exists (unless `force`) or cannot be, CheckpointError for weights that the layout has no place for, OSError.
    """
    if layout == "official":
        refuse_overwriting([path], force=force)
        with _aside(path) as aside:
            torch.save({name: _alone(weights[name]) for name in official_order(weights)}, aside)
        return
    stored = describe(weights)
    if layout == "safetensors":
        refuse_overwriting([path], force=force)
        write_safetensors({name: stored[name] for name in official_order(stored)}, path)
    elif layout == "fla":
        _save_fla(stored, path, force)
    else:
        raise ValueError(f"layout '{layout}' is none of official, safetensors, fla")


def save_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors over whatever `path` was, aside first and then renamed."""
    write_safetensors(describe(tensors), path, metadata)


def describe(weights: Mapping[str, Tensor]) -> dict[str, Stored]:
    """Shape and type of each tensor; those of `Weights` are known, others are made once to be looked at."""
    if isinstance(weights, Weights):
        known = {name: (stored.shape, stored.dtype) for name, stored in weights.tensors.items()}
    else:
        known = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()}
    return {name: Stored(shape, dtype, partial(weights.__getitem__, name)) for name, (shape, dtype) in known.items()}


def official_order(names: Mapping[str, object]) -> list[str]:
    """Names in the order of the layers; `ln_x` before the decay, by whose order the `rwkv` package tells versions."""

    def place(name: str) -> tuple[int, int]:
        layer = LAYER.match(name)
        if layer is None:
            return (-1, 0) if name.startswith("emb.") else (len(names), 0)
        parts = ("ln0.", "ln1.", "ln2.", "att.ln_x.", "att.")
        rest = name[layer.end() :]
        return int(layer[1]), next((index for index, part in enumerate(parts) if rest.startswith(part)), len(parts))

    return sorted(names, key=place)


def write_safetensors(stored: Mapping[str, Stored], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors one after the other, holding one at a time; `path` is whole or untouched."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"} | dict(metadata or {})}
    place = 0
    # Types of more bytes first, so that every tensor begins at a multiple of its own.
    order = sorted(stored, key=lambda name: -stored[name].dtype.itemsize)
    for name in order:
        tensor = stored[name]
        if tensor.dtype not in TYPES:
            raise CheckpointError(f"{path}: '{name}' is {tensor.dtype}, expected float32, bfloat16 or float16")
        end = place + tensor.bytes
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with _aside(path) as aside, aside.open("xb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            _write_tensor(file, stored[name])


def _write_tensor(file: IO[bytes], stored: Stored) -> None:
    tensor = stored.read().detach().cpu().contiguous()
    assert tuple(tensor.shape) == stored.shape and tensor.dtype == stored.dtype
    file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)


def _save_fla(stored: Mapping[str, Stored], path: Path, force: bool) -> None:
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    form = fla7 if "blocks.0.att.r_k" in shapes else fla6
    try:
        tensors = follow(form.written(shapes), stored)
        config = json.dumps(form.config(shapes) | {"torch_dtype": _commonest(stored)}, indent=2) + "\n"
    except KeyError as error:
        raise CheckpointError(f"{path}: {error} has no place in this layout, which holds RWKV 6 and 7") from None
    except (LayoutError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    if path.suffix == ".safetensors":
        refuse_overwriting([path], force=force)
        write_safetensors(tensors, path)
        return
    if path.exists() and not (force and path.is_dir()):
        raise FileError(f"{path} exists; --force overwrites the weights in a folder")
    if not path.parent.is_dir():
        raise FileError(f"{path}: there is no folder {path.parent}")
    with _folder_aside(path) as folder:
        write_safetensors(tensors, folder / MODEL)
        (folder / CONFIG).write_text(config, encoding="utf-8")


def _commonest(stored: Mapping[str, Stored]) -> str:
    sizes: dict[str, int] = {}
    for tensor in stored.values():
        name = str(tensor.dtype).removeprefix("torch.")
        sizes[name] = sizes.get(name, 0) + tensor.bytes
    return max(sizes, key=lambda name: sizes[name])


def _alone(tensor: Tensor) -> Tensor:
    """A tensor whose storage holds nothing else: torch.save writes the storage, not the view."""
    tensor = tensor.detach().cpu().contiguous()
    own = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    return tensor if own else tensor.clone()


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` when all went well and nothing otherwise."""
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _folder_aside(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path`, or whose files go there one by one where `path` is a folder already."""
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    aside.mkdir()
    try:
        yield aside
        if path.is_dir():
            for file in aside.iterdir():
                file.replace(path / file.name)
        else:
            aside.replace(path)
    finally:
        if aside.is_dir():
            for file in aside.iterdir():
                file.unlink()
            aside.rmdir()
