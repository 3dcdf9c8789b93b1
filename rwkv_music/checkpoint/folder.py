"""A folder of weights as Hugging Face keeps them: one file, or several and an index that says which tensor is where."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rwkv_music.checkpoint.source import CheckpointError, Stored

Read = Callable[[Path], tuple[dict[str, Stored], dict[str, str]]]

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLE = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"
JSON_LIMIT = 8 << 20
SHARDS = 1000
# A bare name, so that no index leads out of its folder.
SHARD = re.compile(r"[\w][\w.\-]*\.(safetensors|bin|pth)", re.ASCII)


def file_in(folder: Path) -> Path:
    """The file or index that a folder of weights holds. Raises CheckpointError."""
    for name in (*INDEXES, *SINGLE):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: a folder of weights holds {', '.join((*SINGLE, *INDEXES))}; name the file itself")


def read_shards(index: Path, read: Read) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors of all files that an index names, and the metadata of the first. Raises CheckpointError or OSError."""
    about = _read_json(index)
    places = about.get("weight_map") if about is not None else None
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(f"{index}: an index of weights is a JSON object with a 'weight_map' of names to files")
    files: list[str] = sorted(set(places.values()))
    wrong = next((file for file in files if not SHARD.fullmatch(file)), None)
    if wrong is not None or len(files) > SHARDS:
        raise CheckpointError(f"{index}: {wrong or 'so many files'!r:.80} is no file of weights beside this index")
    stored: dict[str, Stored] = {}
    metadata: dict[str, str] = {}
    for file in files:
        path = index.parent / file
        if not path.is_file():
            raise CheckpointError(f"{index}: the file {file} is missing")
        tensors, own = read(path)
        if set(tensors) != {name for name, place in places.items() if place == file}:
            raise CheckpointError(f"{index}: {file} holds other tensors than the index says")
        stored |= tensors
        metadata = metadata or own
    return stored, metadata


def config_beside(path: Path) -> Mapping[str, Any]:
    """What the config.json in the folder of a weights file says; nothing where there is none that can be read."""
    return _read_json(path.parent / CONFIG) or {}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            content = file.read(JSON_LIMIT + 1)
        about = json.loads(content) if len(content) <= JSON_LIMIT else None
    except (OSError, ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) else None
