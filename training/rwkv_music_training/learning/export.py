"""A trained model as the folder that the package opens: what was learned, and what one must know to use it."""

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rwkv_music.files import whole_folder
from rwkv_music.model.spec import Spec
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.methods import Method
from rwkv_music_training.learning.progress import Progress


def export_model(
    folder: Path,
    method: Method,
    parameters: Mapping[str, Tensor],
    spec: Spec,
    told: Mapping[str, Any],
) -> None:
    """Write a model folder aside and put it in the place of `folder`; `told` becomes its config.json."""
    with whole_folder(folder) as aside:
        method.export(aside, parameters, spec, told)
        (aside / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def model_config(
    config: TrainingConfig, lesson: Lesson, spec: Spec, parameters: int, progress: Progress, bits: Mapping[str, float]
) -> dict[str, Any]:
    """What config.json says. bits: a position of the validation documents, of "all" and by source."""
    return {
        "name": config.name,
        "version": int(spec.version) if spec.version.isdigit() else spec.version,
        "tokenizer": lesson.tokenizer,
        "dimensions": {name: value for name, value in asdict(spec).items() if name != "version"},
        "parameters": parameters,
        "sampling": {"temperature": config.habits.temperature, "top_p": config.habits.top_p},
        "data": {"corpus": lesson.origin},
        "training": config.model_dump(mode="json"),
        "trained": {
            "steps": progress.step,
            "tokens": progress.tokens,
            "minutes": round(progress.seconds / 60, 1),
            "machine": machine(config.machine.threads),
        },
        "valid_bits_per_token": {source: round(value, 4) for source, value in bits.items()},
    }


def machine(threads: int) -> str:
    """The processor of this machine and how many threads worked, or its GPU, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    if found := re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE):
        name = found[1]
    return f"{threads} thread{'s' * (threads > 1)} of a {name}, no GPU"
