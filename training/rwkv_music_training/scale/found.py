"""What a finished checkpoint is on disk: a folder whose manifest names every file and tensor in it.

    checkpoints/step-0000120/manifest.json
                             shard-00001-model-00001-of-00003.safetensors   (process, kind of tensor)

A folder appears under its name only when all of it is written and on the disk, so that a name means a whole checkpoint.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwkv_music.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"
STEP = re.compile(r"step-(\d{7,})", re.ASCII)
MANIFEST_LIMIT = 64 << 20
# Bytes of a number of each type that a run may keep.
TYPES = {
    **dict.fromkeys(("float64", "int64"), 8),
    **dict.fromkeys(("float32", "int32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16"), 2),
    **dict.fromkeys(("uint8", "int8", "bool"), 1),
}
MOST_DIMENSIONS = 8
# A bare name, so that no manifest leads out of its folder.
SHARD = re.compile(r"[\w][\w.\-]*\.safetensors", re.ASCII)


class CheckpointError(UserError):
    """A checkpoint that cannot be written or read; the message says which file and why."""


@dataclass(frozen=True)
class Found:
    """A checkpoint on disk, as its manifest tells."""

    path: Path
    step: int
    # What the run told besides tensors: counters, config, order of the data; JSON values.
    told: Mapping[str, Any]
    # Bytes and SHA-256 of each file.
    files: Mapping[str, tuple[int, str]]
    # The name of the best checkpoint when this one was written, itself perhaps.
    best: str | None
    # Type, one of TYPES, and shape of each tensor.
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]

    def damage(self, name: str) -> str | None:
        """What is wrong with one of the files, in words; None when it is as it was written."""
        size, digest = self.files[name]
        path = self.path / name
        try:
            found = path.stat().st_size
            if found != size:
                return f"{path} has {found:,} bytes instead of {size:,}"
            if fingerprint(path) != digest:
                return f"{path} holds other bytes than were written"
        except OSError as error:
            return f"{path}: {error.strerror or error}"
        return None


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def name_of(step: int) -> str:
    """The folder of a step."""
    return f"step-{step:07d}"


def steps_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if STEP.fullmatch(path.name) and (path / MANIFEST).is_file()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def best_in(folder: Path) -> Path | None:
    """The best checkpoint of a folder as the newest one names it. Raises CheckpointError."""
    newest = steps_in(folder)[-1:]
    name = read_manifest(newest[0]).best if newest else None
    return folder / name if name and (folder / name / MANIFEST).is_file() else None


def read_manifest(path: Path) -> Found:
    """The checkpoint in a folder, by its manifest alone. Raises CheckpointError."""
    place = path / MANIFEST
    try:
        with place.open("rb") as file:
            content = file.read(MANIFEST_LIMIT + 1)
        if len(content) > MANIFEST_LIMIT:
            raise CheckpointError(f"{place} is larger than {MANIFEST_LIMIT:,} bytes: this is no manifest")
        values = json.loads(content)
        if values["format"] != FORMAT:
            raise CheckpointError(f"{place} is of format {values['format']}, this program reads {FORMAT}")
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in values["files"].items()}
        tensors = {
            str(name): (str(kind), tuple(int(size) for size in shape))
            for name, (kind, shape) in values["tensors"].items()
        }
        told = dict(values["told"])
        step, best = int(values["step"]), values["best"]
    except OSError as error:
        raise CheckpointError(f"{place}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{place}: not the manifest of a checkpoint ({error})") from error
    wrong = next((name for name in files if not SHARD.fullmatch(name)), None)
    if wrong is None and best is not None and not (isinstance(best, str) and STEP.fullmatch(best)):
        wrong = best
    if wrong is not None:
        raise CheckpointError(f"{place}: {wrong!r:.80} is no file of a checkpoint")
    _check_sizes(place, files, tensors)
    return Found(path, step, told, files, best, tensors)


def _check_sizes(
    place: Path, files: Mapping[str, tuple[int, str]], tensors: Mapping[str, tuple[str, tuple[int, ...]]]
) -> None:
    """Raises CheckpointError unless all tensors are of known types and find room in the files, whose sizes `damage` checks."""
    held, needed = sum(size for size, _ in files.values()), 0
    for name, (kind, shape) in tensors.items():
        if kind not in TYPES or len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
            raise CheckpointError(f"{place}: {name!r:.80} is no tensor, with type {kind!r:.20} and shape {shape!s:.60}")
        # An empty tensor must not be beyond measure along its other dimensions.
        numbers = math.prod(max(size, 1) for size in shape)
        needed += TYPES[kind] * numbers if all(shape) else 0
        if max(needed, numbers) > held:
            raise CheckpointError(f"{place}: {name!r:.80} has no room in the files, which hold {held:,} bytes")


def write_manifest(found: Found) -> None:
    """Write the manifest into `found.path`, and see it and the folder to the disk. Raises OSError."""
    values = {
        "format": FORMAT,
        "step": found.step,
        "told": found.told,
        "best": found.best,
        "files": found.files,
        "tensors": found.tensors,
    }
    with (found.path / MANIFEST).open("x", encoding="utf-8") as file:
        file.write(json.dumps(values, indent=1, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(found.path)


def sync_folder(folder: Path) -> None:
    """See the names in a folder to the disk."""
    if os.name == "nt":  # folders cannot be opened there, and renaming is written through
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tidy(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the best one. Raises OSError."""
    best = best_in(folder)
    for old in steps_in(folder)[:-keep]:
        if old != best:
            discard(old)


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint; out of sight at once, as one that is half removed must not look like a whole one."""
    gone = checkpoint.with_name(f".{checkpoint.name}.old")
    shutil.rmtree(gone, ignore_errors=True)
    checkpoint.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(".step-") and path.name.endswith((".part", ".old")):
                shutil.rmtree(path, ignore_errors=True)
