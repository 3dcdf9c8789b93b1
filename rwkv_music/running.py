"""What an engine runs its model with: chosen once, when the engine is opened."""

import logging
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_kernels.contract import KernelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
# Tokens that the torch models read in one pass; longer inputs go through in pieces, so memory does not grow.
PIECE = 1024

_log = logging.getLogger(__name__)


class Runner(Protocol):
    """A model in the form that one kind of device runs."""

    # What it is, in words, for people who ask.
    about: str

    def forward(self, ids: Tensor, state: State, all_logits: bool) -> tuple[Tensor, State]:
        """ids: (B, T) int64. Float32 logits (B, T, V), of the last token only (B, 1, V), and the new state."""
        ...


class TorchRunner:
    """The model classes in torch, operation by operation; `apart` reads every piece of a batch on its own.

    Apart, a piece's logits are the same bits whatever else is in the batch.
    """

    def __init__(self, model: Model, *, apart: bool):
        self.model = model
        self.apart = apart
        self.about = "torch, operation by operation"

    def forward(self, ids: Tensor, state: State, all_logits: bool) -> tuple[Tensor, State]:
        """See `Runner.forward`."""
        if not self.apart or ids.shape[0] == 1:
            return self._pieces(ids, state, all_logits)
        rows = [self._pieces(ids[row : row + 1], state.pick([row]), all_logits) for row in range(ids.shape[0])]
        return torch.cat([logits for logits, _ in rows]), State.stack([after for _, after in rows])

    def _pieces(self, ids: Tensor, state: State, all_logits: bool) -> tuple[Tensor, State]:
        kept: list[Tensor] = []
        with torch.inference_mode():
            for piece in ids.split(PIECE, dim=1):
                logits, state = self.model.forward(piece, state)
                kept = [*kept, logits.float()] if all_logits else [logits[:, -1:].float()]
        return torch.cat(kept, dim=1), state


def choose_runner(
    spec: Spec, weights: Mapping[str, Tensor], device: str, dtype: str, kernels: str | None = None
) -> Runner:
    """The fastest runner of `device`, or torch over the kernels of that name.

    weights: by official name; each is asked for once. Where the CPU's own runner cannot be used, a warning in the log
    says why. Raises KernelError when no runner has `dtype`.
    """
    reason = "other kernels were asked for"
    if torch.device(device).type == "cpu" and kernels in (None, "cpu"):
        try:
            return _cpu_runner(spec, weights, dtype)
        except KernelError as error:
            reason = str(error)
            _log.warning("the fast way through the CPU is left out: %s", error)
            # Numba's recurrences take no more sizes than the runner does.
            kernels = kernels or "torch"
    if dtype == "int8":
        raise KernelError(f"weights of int8 run on the CPU's own runner only ({reason}); choose float32 or bfloat16")
    return TorchRunner(torch_model(spec, weights, device, dtype, kernels), apart=torch.device(device).type == "cpu")


def torch_model(
    spec: Spec, weights: Mapping[str, Tensor], device: str, dtype: str, kernels: str | None = None
) -> Model:
    """The model in torch, for training, measuring and devices without a runner of their own."""
    placed = {name: _place(tensor, device, DTYPES[dtype]) for name, tensor in weights.items()}
    return build_model(spec, placed, choose_kernels(device, kernels))


def _place(tensor: Tensor, device: str, dtype: torch.dtype) -> Tensor:
    """A weight where and as it is computed with: matrices in `dtype`, vectors in float32, whose digits matter most."""
    vector = sum(size > 1 for size in tensor.shape) < 2
    return tensor.to(device, torch.float32 if vector else dtype)


def _cpu_runner(spec: Spec, weights: Mapping[str, Tensor], dtype: str) -> Runner:
    try:
        from rwkv_music_kernels.cpu.cache import settle_cache

        settle_cache()
        from rwkv_music.stepping.runner import CpuRunner
    except (ImportError, OSError) as error:
        raise KernelError(f"Numba cannot be loaded ({error}); mend with: pip install numba") from None
    return CpuRunner(spec, weights, dtype)
