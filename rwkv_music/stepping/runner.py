"""`CpuRunner`: one program for one token, for many pieces and for a whole prompt."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rwkv_music.model.spec import ModelError, Spec
from rwkv_music.model.state import State
from rwkv_music.model.v4 import Rwkv4Spec
from rwkv_music.model.v5 import Rwkv5Spec
from rwkv_music.model.v6 import Rwkv6Spec
from rwkv_music.model.v7 import Rwkv7Spec
from rwkv_music.stepping import v4, v5, v6, v7
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.matvec import PANEL, instruction_set
from rwkv_music_kernels.cpu.memory import Store
from rwkv_music_kernels.cpu.program import Program
from rwkv_music_kernels.cpu.team import Team

# Tokens of all pieces that go through together; longer inputs go in turns, to the same bits.
ROWS = 256
# Floats from which memory is fresh from the system at every call, page by page: 4 MiB.
_LARGE = 1 << 20


class CpuRunner:
    """A model of any version in Numba. Every token's logits are the same bits, however its piece is cut into calls,
    whatever else is in the batch, and by however many threads.
    """

    def __init__(self, spec: Spec, weights: Mapping[str, Tensor], dtype: str):
        """weights: official names, each asked for once and let go; dtype: "float32", "bfloat16" or "int8".

        Raises KernelError for sizes that the machine cannot take.
        """
        self.spec = spec
        self._program = _program(spec, weights, dtype)
        self._table = self._program.table()
        self._team = Team()
        self.about = f"Numba, {dtype}, {instruction_set()}{' and AMX' if self._program.tiled else ''}"

    def forward(self, ids: Tensor, state: State, all_logits: bool) -> tuple[Tensor, State]:
        """See `Runner.forward`."""
        kept = []
        parts = ids.split(max(1, ROWS // ids.shape[0]), dim=1)
        scratch = _scratch(parts[0].numel(), self._program.pitch)
        for number, part in enumerate(parts):
            wanted = all_logits or number == len(parts) - 1
            # What the last layer's channel mix remembers is for the next token alone, whose logits nobody wants either.
            stops = not wanted and parts[number + 1].shape[1] > 1
            table = self._table[: self._program.memory_steps] if stops else self._table
            logits, state = self._part(part.contiguous(), state, all_logits, table, scratch)
            if wanted:
                kept.append(logits)
        return torch.cat(kept, dim=1) if len(kept) > 1 else kept[0], state

    def _part(
        self, ids: Tensor, state: State, all_logits: bool, table: np.ndarray, scratch: Tensor
    ) -> tuple[Tensor, State]:
        program, (pieces, length) = self._program, ids.shape
        rows, results = pieces * length, pieces * (length if all_logits else 1)
        threads = self._team.size(program.bytes * rows)
        rooms = torch.empty(threads, program.room)
        width = -(-program.outputs // PANEL) * PANEL
        logits = torch.empty(results, width)
        old = [state.time_shift.contiguous(), state.channel_shift.contiguous(), state.wkv.contiguous()]
        new = [torch.empty_like(tensor) for tensor in old]
        call = np.zeros(at.CALL_SIZE, dtype=np.int64)
        call[: at.OLD_TIME_SHIFT_AT] = (
            *(pieces, length, all_logits, ids.data_ptr(), scratch.data_ptr(), program.pitch),
            *(logits.data_ptr(), width, rooms.data_ptr(), program.room),
        )
        call[at.OLD_TIME_SHIFT_AT :] = [tensor.data_ptr() for tensor in (*old, *new)]
        self._team.run(table, call, threads)
        logits = logits.view(pieces, -1, width)
        return (logits if width == program.outputs else logits[..., : program.outputs].contiguous()), State(*new)


def _scratch(rows: int, pitch: int) -> Tensor:
    """Memory for as many rows; of many rows in huge pages, as each of them lies in pages of its own."""
    return Store().empty(rows, pitch) if rows * pitch >= _LARGE else torch.empty(rows, pitch)


def _program(spec: Spec, weights: Mapping[str, Tensor], dtype: str) -> Program:
    match spec:
        case Rwkv7Spec():
            return v7.write(spec, weights, dtype)
        case Rwkv6Spec():
            return v6.write(spec, weights, dtype)
        case Rwkv5Spec():
            return v5.write(spec, weights, dtype)
        case Rwkv4Spec():
            return v4.write(spec, weights, dtype)
    raise ModelError(f"no RWKV version {spec.version} is known")
