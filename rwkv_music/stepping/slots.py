"""One token of every row over a pool of states: in torch, recorded for each number of rows where the device can."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.slots import SETTINGS, PlainSlots

# Columns of what a step is given, (R, WIDTH) float64, which holds ids exactly: the token that a row reads, the slot of
# its state (-1 rests), how the next one is drawn (see `PlainSlots.draw`), and the number that it is drawn with.
TOKEN, SLOT, DRAWING, UNIFORM = 0, 1, 2, 2 + SETTINGS
WIDTH = UNIFORM + 1

# Tokens (R,) int64 and logits (R, V) float32.
Stepped: TypeAlias = tuple[Tensor, Tensor]
# Makes of a computation one that does the same again, on what then lies where its inputs lay.
Record: TypeAlias = Callable[[Callable[[], Stepped]], Callable[[], Stepped]]


class PooledModel:
    """A model of any version whose rows have their states in a pool, which is changed where it lies.

    On a GPU a row's bits depend neither on the other rows nor on how many they are.
    """

    draws = True

    def __init__(
        self,
        spec: Spec,
        weights: Mapping[str, Tensor],
        kernels: type[PlainSlots],
        memory: State,
        forbidden: Tensor,
        record: Record | None = None,
    ):
        """memory: of P pieces, float32. forbidden: (P, V) bool, the tokens that may not be drawn in each slot."""
        self.spec = spec
        self.weights = weights
        self.kernels = kernels
        self.memory = memory
        self.forbidden = forbidden
        self.record = record or (lambda run: run)
        self._recorded: dict[int, tuple[Tensor, Callable[[], Stepped]]] = {}

    def step(self, given: np.ndarray) -> tuple[list[int], Tensor]:
        """given: (R, WIDTH), R at most P. The next token of every row, and its logits (R, V), valid until the next step."""
        count, slots = len(given), self.forbidden.shape[0]
        rows = min(slots, 1 << (count - 1).bit_length())
        if rows not in self._recorded:
            inputs = torch.zeros(rows, WIDTH, dtype=torch.float64, device=self.forbidden.device)
            # While it is recorded all rows rest, so that no state is touched.
            inputs[:, SLOT] = -1
            self._recorded[rows] = inputs, self.record(lambda: self._step(inputs))
        inputs, run = self._recorded[rows]
        padded = np.zeros((rows, WIDTH))
        padded[:count], padded[count:, SLOT] = given, -1
        inputs.copy_(torch.from_numpy(padded))
        tokens, logits = run()
        return tokens[:count].tolist(), logits[:count]

    @torch.inference_mode()
    def _step(self, given: Tensor) -> Stepped:
        slots = given[:, SLOT].long()
        kernels, memory = self.kernels(slots), self.memory
        model = build_model(self.spec, self.weights, kernels)
        before = State(kernels.take(memory.time_shift), kernels.take(memory.channel_shift), memory.wkv)
        logits, after = model.forward(given[:, TOKEN, None].long(), before)
        kernels.put(memory.time_shift, after.time_shift)
        kernels.put(memory.channel_shift, after.channel_shift)
        logits = logits[:, -1].float()
        forbidden = self.forbidden[slots.clamp(min=0)]
        return kernels.draw(logits, given[:, DRAWING:UNIFORM], given[:, UNIFORM], forbidden), logits


def cuda_graphs() -> Record:
    """Records into CUDA graphs, which share their memory: each is read before the next runs."""
    pool = torch.cuda.graph_pool_handle()

    def record(run: Callable[[], Stepped]) -> Callable[[], Stepped]:
        # What is compiled and chosen at the first run may not be recorded.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            stepped = run()

        def replay() -> Stepped:
            graph.replay()
            return stepped

        return replay

    return record
