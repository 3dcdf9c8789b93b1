"""LoRA: matrices stay as they are, and each learns a product of two thin ones beside it.

    y = W x + alpha / r B (A x)        A: (r, in), B: (out, r), after "LoRA" (arXiv 2106.09685)

Saved in peft's form and in RWKV-PEFT's, and merged into a whole model that needs neither.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Parameter

from rwkv_music.errors import UserError
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import tensor_shapes
from rwkv_music_training.learning.dropping import Dropout, dropout

WEIGHT, DOWN, UP = ".weight", ".lora_A", ".lora_B"
# What stands before a module's name in peft's files.
PEFT = "base_model.model."
PEFT_FILES = ("adapter_model.safetensors", "adapter_config.json")
RWKV_PEFT_FILE = "rwkv-peft-lora.pth"


class LoraError(UserError):
    """Matrices that a model has not."""


class Lora:
    """Low-rank additions to matrices of the blocks, of any version; nothing else learns."""

    def __init__(self, rank: int = 8, alpha: float = 16.0, share: float = 0.0, matrices: Sequence[str] = ()):
        """share: of its inputs that dropout leaves out. matrices: as "att.key" or "ffn.value"; none: all of the blocks."""
        self.rank = rank
        self.scale = alpha / rank
        self.share = share
        self.matrices = tuple(matrices)

    def modules(self, spec: Spec) -> list[str]:
        """Full names of the matrices with an addition, "blocks.0.att.key". Raises LoraError for one there is not."""
        shapes = tensor_shapes(spec)
        every = [
            name.removesuffix(WEIGHT) for name, shape in shapes.items() if name.endswith(WEIGHT) and len(shape) == 2
        ]
        inside = [name for name in every if name.startswith("blocks.")]
        leaves = sorted({name.split(".", 2)[2] for name in inside})
        if strange := [name for name in self.matrices if name not in leaves]:
            raise LoraError(f"method.matrices: RWKV-{spec.version} has no '{strange[0]}', only {', '.join(leaves)}")
        return [name for name in inside if name.split(".", 2)[2] in (self.matrices or leaves)]

    def parameters(self, weights: Mapping[str, Tensor], spec: Spec, generator: torch.Generator) -> dict[str, Parameter]:
        """The model's, which stay, and A and B beside each matrix: A drawn, B zero, so that it begins as the model."""
        found = {name: Parameter(weights[name].detach().float().clone(), False) for name in tensor_shapes(spec)}
        for module in self.modules(spec):
            out, width = found[module + WEIGHT].shape
            # As peft and the paper's authors draw it: torch's own way with linear maps.
            bound = 1 / math.sqrt(width)
            down = torch.empty(self.rank, width).uniform_(-bound, bound, generator=generator)
            found |= {module + DOWN: Parameter(down), module + UP: Parameter(torch.zeros(out, self.rank))}
        return found

    def seen(
        self, parameters: Mapping[str, Tensor], spec: Spec, draw: tuple[int, ...] | None = None
    ) -> Mapping[str, Tensor]:
        """The weights by official names, differentiable in A and B: beside the matrices with `draw`, else merged.

        draw: the numbers that decide what dropout leaves out, while training.
        """
        if draw is None:
            return Changed(parameters, tensor_shapes(spec), self._merged)
        drop = dropout(self.share, *draw)

        def beside(name: str, matrix: Tensor, down: Tensor, up: Tensor) -> Beside:
            return Beside(name, matrix, down, up, self.scale, drop)

        return Changed(parameters, tensor_shapes(spec), beside)

    def start(self, parameters: Mapping[str, Tensor], spec: Spec, documents: int, device: torch.device) -> State:
        """Nothing: pieces begin as the model's do."""
        return State.zeros(spec, documents, device)

    def export(self, folder: Path, parameters: Mapping[str, Tensor], spec: Spec, told: Mapping[str, Any]) -> None:
        """Write into a folder model.safetensors, merged, in bfloat16; and in adapter/ the addition in both forms.

        told: of it the name of the model it was trained beside.
        """
        merged = self.seen({name: each.detach() for name, each in parameters.items()}, spec)
        whole = {name: merged[name].to(torch.bfloat16).contiguous() for name in merged}
        save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "adapter").mkdir()
        self.save(folder / "adapter", parameters, spec, str(told.get("training", {}).get("base")))

    def save(self, folder: Path, parameters: Mapping[str, Tensor], spec: Spec, base: str) -> None:
        """Write peft's two files and RWKV-PEFT's one, which does not hold alpha, into a folder that is there."""
        own = {
            module + part: parameters[module + part].detach().float().cpu().contiguous()
            for module in self.modules(spec)
            for part in (DOWN, UP)
        }
        torch.save(own, folder / RWKV_PEFT_FILE)
        tensors, config = PEFT_FILES
        save_file({f"{PEFT}{name}.weight": each for name, each in own.items()}, folder / tensors, {"format": "pt"})
        modules = sorted({module.split(".", 2)[2] for module in self.modules(spec)})
        content = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": self.rank,
            "lora_alpha": self.scale * self.rank,
            "lora_dropout": self.share,
            "target_modules": modules,
            "bias": "none",
            "fan_in_fan_out": False,
            "use_rslora": False,
            "use_dora": False,
            "inference_mode": True,
        }
        (folder / config).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _merged(self, name: str, matrix: Tensor, down: Tensor, up: Tensor) -> Tensor:
        return matrix + self.scale * (up @ down)


class Beside:
    """A matrix with its addition, in whose place it stands wherever a linear map is taken.

    `torch.nn.functional.linear` asks it what it gives, so that neither models nor kernels know of adapters.
    """

    def __init__(self, name: str, matrix: Tensor, down: Tensor, up: Tensor, scale: float, drop: Dropout | None):
        self._matrix, self._down, self._up = matrix, down, up
        self._scale = scale
        self._drop = drop
        # Dropout wants a number of the place; one that needs no list of all places.
        self._place = zlib.crc32(name.encode())

    @property
    def dtype(self) -> torch.dtype:
        return self._matrix.dtype

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Tensor:
        if function is not F.linear or len(args) != 2 or kwargs:
            raise TypeError(
                f"a matrix with an addition beside it is for linear maps alone, not for {function.__name__}"
            )
        return args[1]._times(args[0])

    def _times(self, x: Tensor) -> Tensor:
        dropped = x if self._drop is None else self._drop(x, self._place)
        return F.linear(x, self._matrix) + self._scale * F.linear(F.linear(dropped, self._down), self._up)


class Changed(Mapping[str, Tensor]):
    """Weights by official names; `change(name, matrix, A, B)` stands for those that have an addition."""

    def __init__(self, parameters: Mapping[str, Tensor], names: Mapping[str, Any], change: Callable[..., Any]):
        self._parameters = parameters
        self._names = names
        self._change = change

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        module = name.removesuffix(WEIGHT)
        if module + DOWN not in self._parameters:
            return self._parameters[name]
        matrix, down, up = (self._parameters[part] for part in (name, module + DOWN, module + UP))
        return self._change(name, matrix, down, up)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
