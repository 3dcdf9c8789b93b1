"""A trained model as the folder that the package opens: weights in bf16 and what one must know to use them."""

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from rwkv_music.model.versions import Model
from rwkv_music_training.checkpoints import Progress
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.judging.readings import Reading, told

SIZE_LIMIT = 16 * 1024 * 1024


class ExportError(ValueError):
    """A model that cannot be exported; the message says the limit."""


def export_model(
    folder: Path, model: Model, config: TrainingConfig, progress: Progress, bits: Mapping[str, Reading]
) -> None:
    """Write model.safetensors (bf16, official names) and config.json into a new folder. Raises ExportError."""
    weights = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in model.weights.items()}
    size = sum(2 * tensor.numel() for tensor in weights.values())
    if size > SIZE_LIMIT:
        raise ExportError(
            f"the weights take {size:,} bytes in bf16, the limit is {SIZE_LIMIT:,}: make the model smaller"
        )
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps(model_config(model, config, progress, bits), indent=2)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def machine(threads: int) -> str:
    """The processor of this machine and how many threads worked, in words."""
    name = platform.processor() or platform.machine()
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    if found := re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE):
        name = found[1]
    return f"{threads} thread{'s' * (threads > 1)} of a {name}, no GPU"


def model_config(
    model: Model, config: TrainingConfig, progress: Progress, bits: Mapping[str, Reading]
) -> dict[str, object]:
    """What config.json says."""
    return {
        "name": config.name,
        "version": 7,
        "tokenizer": config.tokenizer,
        "dimensions": {name: value for name, value in asdict(model.spec).items() if name != "version"},
        "parameters": sum(tensor.numel() for tensor in model.weights.values()),
        "sampling": {"temperature": config.temperature, "top_p": config.top_p},
        "data": {"file": config.train_file, "tiers": list(config.tiers)},
        "training": json.loads(config.to_json()),
        "trained": {
            "steps": progress.step,
            "tokens": progress.tokens,
            "minutes": round(progress.seconds / 60, 1),
            "machine": machine(config.threads),
        },
        **told(bits),
    }
