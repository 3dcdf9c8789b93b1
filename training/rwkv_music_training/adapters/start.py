"""State tuning: the model stays as it is, and what it remembers before the first token learns.

RWKV-5 to 7 learn the whole memory of each head, from nothing on, under the official name `time_state`. RWKV-4 remembers
two sums and the exponent that they are scaled by, (e^(k - p) v, e^(k - p), p), where a free change of any one makes
nonsense of the others. So it learns one token that was never there: a value and a key a channel, (v, 1, k). That is a
memory for any numbers; the key begins at FIRST_KEY, where the token weighs little and its value still has a gradient.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rwkv_music.checkpoint.load import file_hash
from rwkv_music.checkpoint.states import save_state
from rwkv_music.library import STYLE, find_model
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import tensor_shapes
from rwkv_music.styles import Style, StyleLabel, save_style

FIRST_KEY = -4.0
OFFICIAL_FILE = "time_state.pth"


class StateTuning:
    """The memory before the first token, of any version; nothing else learns. It ends as a style."""

    def parameters(self, weights: Mapping[str, Tensor], spec: Spec, generator: torch.Generator) -> dict[str, Parameter]:
        """The model's, which stay, and the memory of each layer."""
        found = {name: Parameter(weights[name].detach().float().clone(), False) for name in tensor_shapes(spec)}
        for layer in range(spec.layers):
            found |= {name: Parameter(first) for name, first in self._first(layer, spec).items()}
        return found

    def _first(self, layer: int, spec: Spec) -> dict[str, Tensor]:
        if spec.version == "4":
            value, key = _of_four(layer)
            return {value: torch.zeros(spec.width), key: torch.full((spec.width,), FIRST_KEY)}
        return {_official(layer): torch.zeros(spec.heads, spec.head_size, spec.head_size)}

    def seen(
        self, parameters: Mapping[str, Tensor], spec: Spec, draw: tuple[int, ...] | None = None
    ) -> Mapping[str, Tensor]:
        """The model's weights, as they are."""
        return parameters

    def start(self, parameters: Mapping[str, Tensor], spec: Spec, documents: int, device: torch.device) -> State:
        """The memory that learns, the same for every document."""
        blank = State.zeros(spec, documents, device)
        memory = self.memory(parameters, spec)
        return State(blank.time_shift, blank.channel_shift, memory.expand(-1, documents, *memory.shape[2:]))

    def memory(self, parameters: Mapping[str, Tensor], spec: Spec) -> Tensor:
        """(L, 1, H, N, N) as [value, key], or RWKV-4's (L, 1, 3, C); float32."""
        if spec.version == "4":
            pairs = [[parameters[name].float() for name in _of_four(layer)] for layer in range(spec.layers)]
            return torch.stack([torch.stack([value, torch.ones_like(value), key]) for value, key in pairs])[:, None]
        return torch.stack([parameters[_official(layer)].float() for layer in range(spec.layers)])[:, None]

    def export(self, folder: Path, parameters: Mapping[str, Tensor], spec: Spec, told: Mapping[str, Any]) -> None:
        """Write into a folder the style, and for RWKV-5 to 7 the official file beside it.

        told: what a model's config.json says; of it the name, the tokenizer, the base, what it was made of and how.
        """
        memory = self.memory(parameters, spec).detach().cpu().contiguous()
        base = find_model(str(told["training"]["base"]))
        label = StyleLabel(
            name=str(told["name"]),
            base=base.config.name if base.config else str(told["training"]["base"]),
            base_hash=file_hash(base.weights),
            version=spec.version,
            tokenizer=str(told["tokenizer"]),
            made_of=told.get("data", {}),
            made_by={name: told[name] for name in ("training", "trained", "valid_bits_per_token") if name in told},
        )
        save_style(Style(label, memory), folder / STYLE)
        if spec.version != "4":
            blank = State.zeros(spec)
            state = State(blank.time_shift, blank.channel_shift, memory)
            save_state(state, spec, folder / OFFICIAL_FILE, "time_state")


def _official(layer: int) -> str:
    return f"blocks.{layer}.att.time_state"


def _of_four(layer: int) -> tuple[str, str]:
    return f"blocks.{layer}.att.start_value", f"blocks.{layer}.att.start_key"
