"""States as PyPI `rwkv` holds them: one flat list of tensors, of one piece."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State, StateError


def to_official(state: State, spec: Spec) -> list[Tensor]:
    """The flat list for a batch of one.

    Per layer RWKV-4 has att_x, aa, bb, pp, ffn_x, each (C); 5 and 6 have att_x, att_kv (H, N_key, N_value), ffn_x; 7 the
    same with att_kv (H, N_value, N_key). Raises StateError for more pieces than one.
    """
    if state.batch != 1:
        raise StateError(f"the official list holds one piece, this state holds {state.batch}: pick one first")
    flat = []
    for layer in range(spec.layers):
        memory = _turned(state.wkv[layer, 0], spec)
        sums = list(memory.unbind(0)) if spec.version == "4" else [memory]
        flat += [state.time_shift[layer, 0], *sums, state.channel_shift[layer, 0]]
    return [tensor.clone(memory_format=torch.contiguous_format) for tensor in flat]


def from_official(flat: Sequence[Tensor], spec: Spec) -> State:
    """The inverse of `to_official`. Raises StateError when the list is none of a model of this spec."""
    each = 5 if spec.version == "4" else 3
    if len(flat) != each * spec.layers:
        raise StateError(f"the official list of this model holds {each * spec.layers} tensors, this one {len(flat)}")
    memory = spec.blank_memory(1, "meta")[0, 0].shape
    layers = [[tensor.float() for tensor in flat[start : start + each]] for start in range(0, len(flat), each)]
    for first, *sums, last in layers:
        shape = (3, *sums[0].shape) if spec.version == "4" else tuple(sums[0].shape)
        if first.shape != (spec.width,) or last.shape != (spec.width,) or shape != tuple(memory):
            raise StateError(f"the official list of this model holds (C) and {list(memory)} tensors, C = {spec.width}")
    wkv = [torch.stack(sums) if spec.version == "4" else _turned(sums[0], spec) for _, *sums, _ in layers]
    return State(
        torch.stack([layer[0] for layer in layers])[:, None],
        torch.stack([layer[-1] for layer in layers])[:, None],
        torch.stack(wkv)[:, None],
    )


def _turned(memory: Tensor, spec: Spec) -> Tensor:
    """Between [value, key], ours in every version, and what PyPI `rwkv` holds for this one."""
    return memory.mT if spec.version.startswith(("5", "6")) else memory
