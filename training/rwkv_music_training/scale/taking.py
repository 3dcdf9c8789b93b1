"""A model out of a checkpoint: in one process, however many wrote it, and in the forms that players open."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rwkv_music.checkpoint.save import save_checkpoint
from rwkv_music.files import refuse_overwriting
from rwkv_music.model.versions import read_spec
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import ConfigError, TrainingConfig, checked
from rwkv_music_training.learning.export import export_model, model_config
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.methods import method_of
from rwkv_music_training.learning.progress import Progress
from rwkv_music_training.scale.checkpoints import read_into
from rwkv_music_training.scale.found import CheckpointError, Found

LAYOUTS = {".pth": "official", ".safetensors": "safetensors"}
LN2 = 0.6931471805599453


def learned(found: Found, average: bool = True) -> dict[str, Tensor]:
    """The parameters of a run by name, whole, on the CPU; their moving average where there is one and it is wanted.

    Raises CheckpointError where a file is damaged.
    """
    if damage := next((told for name in sorted(found.files) if (told := found.damage(name))), None):
        raise CheckpointError(damage)
    kinds = {"weights": "weights/", "average": "average/"} if average else {"weights": "weights/"}
    taken: dict[str, Tensor] = {}
    for kind in kinds.values():
        names = {name: shape for name, (_, shape) in found.tensors.items() if name.startswith(kind)}
        tensors = {name: torch.empty(shape, dtype=_dtype(found, name)) for name, shape in names.items()}
        if tensors:
            read_into(found, tensors)
        taken |= {name.removeprefix(kind): tensor for name, tensor in tensors.items()}
    return taken


def take_out(found: Found, target: Path, *, average: bool = True, force: bool = False) -> None:
    """Write a checkpoint's model: a `.pth` or `.safetensors` of official names in float32, or else a folder.

    The folder is what `generate -m` opens: bfloat16 weights, or what a method other than "full" has learned, and a
    config.json. Raises CheckpointError, FileError, ConfigError, OSError.
    """
    config, progress, lesson = _told(found)
    parameters = learned(found, average)
    official = {name: tensor.shape for name, tensor in parameters.items()}
    spec = read_spec({name: tuple(shape) for name, shape in official.items()})
    method = method_of(config.method)
    refuse_overwriting([target], force=force)
    if layout := LAYOUTS.get(target.suffix):
        weights = {name: tensor.detach() for name, tensor in method.seen(parameters, spec).items()}
        save_checkpoint(weights, target, layout, force=force)  # pyright: ignore[reportArgumentType]
        return
    bits = {"all": progress.best / LN2} if progress.best_step == progress.step else {}
    count = sum(tensor.numel() for tensor in parameters.values())
    target.parent.mkdir(parents=True, exist_ok=True)
    export_model(target, method, parameters, spec, model_config(config, lesson, spec, count, progress, bits))


def _told(found: Found) -> tuple[TrainingConfig, Progress, Lesson]:
    """What a run told of itself besides tensors. Raises CheckpointError."""
    try:
        told: Mapping[str, Any] = found.told
        config = checked(told["config"], str(found.path))
        counters = {name: value for name, value in told["progress"].items() if value is not None}
        about = told["lesson"]
        lesson = Lesson(about["tokenizer"], about["vocabulary"], Listed([], []), origin=about["origin"])
        return config, Progress(**counters), lesson
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{found.path}: not a checkpoint of a training run ({error})") from error


def _dtype(found: Found, name: str) -> torch.dtype:
    return getattr(torch, found.tensors[name][0])
