"""A run on disk: weights, optimiser, average and counters, written aside and then renamed."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rwkv_music_training.config import TrainingConfig, config_from_json

TENSORS, PROGRESS = "tensors.safetensors", "progress.json"
KEPT = 2


class ResumeError(ValueError):
    """A checkpoint that cannot be continued; the message names the folder and the reason."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    # Optimiser steps tried, and those left out because the gradient was not finite.
    step: int = 0
    skipped: int = 0
    # Positions that counted in the loss.
    tokens: int = 0
    # Seconds trained, over all resumes.
    seconds: float = 0.0
    # The best validation reading in bits a character, its step, and the readings since.
    best: float = float("inf")
    best_step: int = 0
    readings_since_best: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """Everything that continues a run; tensors by kind and name ("weights", "average", "moment", "square")."""

    config: TrainingConfig
    progress: Progress
    tensors: Mapping[str, Mapping[str, torch.Tensor]]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder`/step-N and remove all but the newest ones. Returns the folder written."""
    target = folder / f"step-{checkpoint.progress.step:07d}"
    aside = folder / f".{target.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    flat = {f"{kind}/{name}": value for kind, group in checkpoint.tensors.items() for name, value in group.items()}
    save_file(flat, aside / TENSORS)
    progress = asdict(checkpoint.progress)
    if progress["best"] == float("inf"):
        progress["best"] = None
    text = json.dumps({"progress": progress, "config": asdict(checkpoint.config)}, indent=2)
    (aside / PROGRESS).write_text(text + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    for old in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / PROGRESS).is_file())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint folder. Raises ResumeError."""
    try:
        told = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
        flat = load_file(path / TENSORS)
        progress = Progress(**{name: value for name, value in told["progress"].items() if value is not None})
        config = config_from_json(json.dumps(told["config"]), str(path / PROGRESS))
    except (OSError, ValueError, SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise ResumeError(f"{path}: no whole checkpoint ({error})") from error
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in flat.items():
        kind, _, name = key.partition("/")
        tensors.setdefault(kind, {})[name] = value
    return Checkpoint(config, progress, tensors)


def check_tensors(path: Path, checkpoint: Checkpoint, expected: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Raises ResumeError unless each expected tensor is there in its shape; moments only if there are any."""
    weights = expected["weights"]
    kinds = {"weights": weights, "average": expected["average"], "optimizer": expected["optimizer"]}
    if "moment" in checkpoint.tensors or checkpoint.progress.step > checkpoint.progress.skipped:
        kinds |= {"moment": weights, "square": weights}
    for kind, group in kinds.items():
        for name, tensor in group.items():
            found = checkpoint.tensors.get(kind, {}).get(name)
            if found is None or found.shape != tensor.shape:
                raise ResumeError(f"{path}: no whole checkpoint ({kind}/{name} must be {list(tensor.shape)})")
