"""The memory of a model: small, of one size whatever the length, a value that is replaced and never edited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from rwkv_music.model.spec import Spec


class StateError(ValueError):
    """Tensors that are no state of this model: says which, and what they should have been."""


class Memory(NamedTuple):
    """What one layer remembers of B pieces: (B, C), (B, C) and (B, H, N, N) or RWKV-4's (B, 3, C), see `State`."""

    time_shift: Tensor
    channel_shift: Tensor
    wkv: Tensor


@dataclass(frozen=True, eq=False)
class State:
    """Everything a model remembers of B pieces.

    time_shift, channel_shift: (L, B, C), the previous token's input to the time and channel mix of each layer.
    wkv: (L, B, H, N, N) float32, [value channel, key channel]; RWKV-4 has (L, B, 3, C), see `Kernels.wkv4`.
    """

    time_shift: Tensor
    channel_shift: Tensor
    wkv: Tensor

    @classmethod
    def zeros(cls, spec: Spec, batch: int = 1, device: str | torch.device = "cpu") -> "State":
        """The state before the first token."""
        shift = torch.zeros(spec.layers, batch, spec.width, device=device)
        return cls(shift, shift.clone(), spec.blank_memory(batch, device))

    def of_layer(self, layer: int) -> Memory:
        return Memory(self.time_shift[layer], self.channel_shift[layer], self.wkv[layer])

    @staticmethod
    def of_layers(memories: Sequence[Memory]) -> "State":
        """The inverse of `of_layer`, for all layers."""
        shifts, channel_shifts, wkvs = zip(*memories, strict=True)
        return State(torch.stack(shifts), torch.stack(channel_shifts), torch.stack(wkvs))

    @property
    def batch(self) -> int:
        return self.wkv.shape[1]

    def clone(self) -> "State":
        """A copy that shares no memory with this one."""
        return State(self.time_shift.clone(), self.channel_shift.clone(), self.wkv.clone())

    def to(self, device: str | torch.device) -> "State":
        return State(self.time_shift.to(device), self.channel_shift.to(device), self.wkv.to(device))

    def pick(self, rows: Sequence[int]) -> "State":
        """The states of some pieces of the batch, in the order given, copied."""
        return State(self.time_shift[:, rows], self.channel_shift[:, rows], self.wkv[:, rows])

    @staticmethod
    def stack(states: Sequence["State"]) -> "State":
        """The batches of several states joined into one."""
        return State(
            torch.cat([state.time_shift for state in states], dim=1),
            torch.cat([state.channel_shift for state in states], dim=1),
            torch.cat([state.wkv for state in states], dim=1),
        )

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, contiguous and on the CPU, as they are written to a safetensors file."""
        return {field.name: getattr(self, field.name).detach().cpu().contiguous() for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: Spec) -> "State":
        """The inverse of `tensors`. Raises StateError when a name, shape or type is not that of a state of `spec`."""
        wkv = tensors.get("wkv")
        blank = cls.zeros(spec, wkv.shape[1] if wkv is not None and wkv.dim() > 1 else 1, "meta")
        for field in fields(cls):
            expected, found = getattr(blank, field.name), tensors.get(field.name)
            if found is None:
                raise StateError(f"the state has no tensor named '{field.name}'")
            if found.shape != expected.shape or found.dtype != expected.dtype:
                raise StateError(
                    f"the state's '{field.name}' is {found.dtype} {list(found.shape)}, "
                    f"this model needs {expected.dtype} {list(expected.shape)}"
                )
            if not torch.isfinite(found).all():
                raise StateError(f"the state's '{field.name}' holds values that are not finite")
        return cls(**{field.name: tensors[field.name].clone() for field in fields(cls)})
