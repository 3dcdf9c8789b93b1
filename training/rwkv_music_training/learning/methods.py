"""Methods: what of a model learns, and what the model sees of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Parameter

from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music_training.adapters.lora import Lora
from rwkv_music_training.adapters.start import StateTuning
from rwkv_music_training.learning.config import ConfigError
from rwkv_music_training.learning.config import Method as MethodConfig


class Method(Protocol):
    """A way to learn, without memory of its own: the parameters that it makes belong to the learner.

    It works on parameters by name: the official names for those of the model, others for what it adds. They may change
    place between two calls (sharded, gathered), so it looks them up whenever it is asked and keeps none.
    """

    def parameters(self, weights: Mapping[str, Tensor], spec: Spec, generator: torch.Generator) -> dict[str, Parameter]:
        """All parameters: the model's float32 under their official names and what is added; what learns requires grad."""
        ...

    def seen(
        self, parameters: Mapping[str, Tensor], spec: Spec, draw: tuple[int, ...] | None = None
    ) -> Mapping[str, Tensor]:
        """The weights as the model reads them, by official names, differentiable in what learns.

        draw: while training, the numbers that decide what the method's own dropout leaves out.
        """
        ...

    def start(self, parameters: Mapping[str, Tensor], spec: Spec, documents: int, device: torch.device) -> State:
        """The state before the first token of each of some documents."""
        ...

    def export(self, folder: Path, parameters: Mapping[str, Tensor], spec: Spec, told: Mapping[str, Any]) -> None:
        """Write into an empty folder what was learned, in the form that `generate` takes: whole tensors on the CPU.

        told: what config.json will say.
        """
        ...


class Full:
    """The weights themselves learn: all, or those whose names hold one of `parts`."""

    def __init__(self, parts: Sequence[str] = ()):
        self._parts = tuple(parts)

    def parameters(self, weights: Mapping[str, Tensor], spec: Spec, generator: torch.Generator) -> dict[str, Parameter]:
        """See `Method`. Raises ConfigError for a part that no name holds."""
        if strange := [part for part in self._parts if not any(part in name for name in weights)]:
            raise ConfigError(f"method.parts: RWKV-{spec.version} has no tensor with '{strange[0]}' in its name")

        def learns(name: str) -> bool:
            return not self._parts or any(part in name for part in self._parts)

        return {name: Parameter(each.detach().float().clone(), learns(name)) for name, each in weights.items()}

    def seen(
        self, parameters: Mapping[str, Tensor], spec: Spec, draw: tuple[int, ...] | None = None
    ) -> Mapping[str, Tensor]:
        """See `Method`."""
        return parameters

    def start(self, parameters: Mapping[str, Tensor], spec: Spec, documents: int, device: torch.device) -> State:
        """See `Method`."""
        return State.zeros(spec, documents, device)

    def export(self, folder: Path, parameters: Mapping[str, Tensor], spec: Spec, told: Mapping[str, Any]) -> None:
        """See `Method`: model.safetensors in bfloat16 under official names."""
        weights = {name: each.detach().to(torch.bfloat16).contiguous() for name, each in parameters.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def method_of(options: MethodConfig) -> Method:
    """The method that the configuration names."""
    match options.name:
        case "lora":
            return Lora(options.rank, options.alpha, options.dropout, options.matrices)
        case "state":
            return StateTuning()
        case "full":
            return Full(options.parts)
