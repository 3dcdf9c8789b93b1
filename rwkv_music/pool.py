"""Many pieces written at once, a token each a step; they join and leave between any two steps."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rwkv_music.engine import Engine
from rwkv_music.model.state import State
from rwkv_music.running import Runner, TorchRunner
from rwkv_music.sampling import Sampler, SamplingError
from rwkv_music.stepping.slots import DRAWING, SLOT, TOKEN, UNIFORM, WIDTH, PooledModel, cuda_graphs
from rwkv_music_kernels.choose import pooled_kernels
from rwkv_music_kernels.slots import OVERFLOW


class PoolError(RuntimeError):
    """A pool without a free slot."""


class SlotPool:
    """A state for each of `slots` pieces, in the memory of the engine's device, changed in place by every step.

    A piece's tokens are those that `Engine.advance` and its `Sampler` give, on a GPU to the rounding of logits and of a
    draw in float32; and they do not depend on what else is in the pool. One caller at a time.
    """

    def __init__(self, engine: Engine, slots: int = 64):
        """Raises ValueError for fewer slots than one."""
        if slots < 1:
            raise ValueError(f"a pool has at least one slot, not {slots}")
        self.engine = engine
        self._memory = State.zeros(engine.spec, slots, engine.device)
        self._forbidden = torch.zeros(slots, engine.spec.vocabulary, dtype=torch.bool, device=engine.device)
        self._stepper = _stepper(engine.runner, self._memory, self._forbidden)
        self._given = np.zeros((slots, WIDTH))
        self._given[:, SLOT] = np.arange(slots)
        self._samplers: dict[int, Sampler] = {}

    @property
    def free(self) -> int:
        """How many pieces may still join."""
        return len(self._given) - len(self._samplers)

    def admit(self, state: State | None, token: int, sampler: Sampler) -> int:
        """A piece joins: what it remembers (None: nothing), the token it reads next, and what draws those after it.

        The sampler is the pool's until the piece is released. Returns the slot. Raises PoolError when all are taken,
        ValueError for a state or a token of another model.
        """
        if not self.free:
            raise PoolError(f"all {len(self._given)} slots of the pool are taken: release one first")
        if not 0 <= token < self.engine.spec.vocabulary:
            raise ValueError(f"a token must be in 0..{self.engine.spec.vocabulary - 1}, not {token}")
        slot = next(slot for slot in range(len(self._given)) if slot not in self._samplers)
        self._put(slot, self.engine.fit(state, 1))
        self._forbidden[slot] = False
        options, row = sampler.options, self._given[slot]
        row[TOKEN] = token
        row[DRAWING:UNIFORM] = options.temperature, options.top_k, options.top_p, options.min_p, options.top_p_first
        self._samplers[slot] = sampler
        return slot

    def release(self, slot: int) -> None:
        """The piece leaves, its slot is free again. Raises ValueError where there is none, as all that follow."""
        self._check(slot)
        del self._samplers[slot]

    def state_of(self, slot: int) -> State:
        """A copy of what the piece remembers: everything but the token drawn last, which it has yet to read."""
        self._check(slot)
        return self._memory.pick([slot])

    def put_state(self, slot: int, state: State) -> None:
        """Go on from another state. Raises ValueError when it is of another model."""
        self._check(slot)
        self._put(slot, self.engine.fit(state, 1))

    def forbid(self, slot: int, tokens: np.ndarray | None) -> None:
        """tokens: (V,) bool, those that may not come in this slot from now on; None: all may."""
        self._check(slot)
        self._forbidden[slot] = False if tokens is None else torch.from_numpy(tokens).to(self.engine.device)

    def step(self) -> dict[int, int]:
        """Every piece reads a token and draws the next: by slot, OVERFLOW where nothing can be drawn (release that one)."""
        if not self._samplers:
            return {}
        slots = list(self._samplers)
        on_device = [self._stepper.draws and sampler.options.recipe is None for sampler in self._samplers.values()]
        for slot, device in zip(slots, on_device, strict=True):
            self._given[slot, UNIFORM] = self._samplers[slot].uniform() if device else 0.0
        tokens, logits = self._stepper.step(self._given[slots])
        for row, slot in enumerate(slots):
            if not on_device[row]:
                tokens[row] = self._drawn(slot, logits[row])
            if tokens[row] != OVERFLOW:
                self._samplers[slot].follow(tokens[row])
                self._given[slot, TOKEN] = tokens[row]
        return dict(zip(slots, tokens, strict=True))

    def read(self, tokens: Mapping[int, int]) -> dict[int, Tensor]:
        """Pieces read tokens that were chosen elsewhere, by slot; of each, float32 logits (V,) for what follows.

        Nothing is drawn, and no sampler asked. Raises ValueError where there is no piece.
        """
        for slot in tokens:
            self._check(slot)
        if not tokens:
            return {}
        slots = list(tokens)
        given = self._given[slots]
        given[:, TOKEN], given[:, UNIFORM] = list(tokens.values()), 0.0
        _, logits = self._stepper.step(given)
        # Each by itself, so that keeping one row does not keep all.
        return {slot: logits[row].clone() for row, slot in enumerate(slots)}

    def _drawn(self, slot: int, logits: Tensor) -> int:
        """What the sampler itself takes: a recipe counts tokens, which the device does not."""
        allowed = logits.masked_fill(self._forbidden[slot], -torch.inf).cpu().numpy()
        try:
            return self._samplers[slot].choose(allowed)
        except SamplingError:
            return OVERFLOW

    def _check(self, slot: int) -> None:
        if slot not in self._samplers:
            raise ValueError(f"no piece is in slot {slot}")

    def _put(self, slot: int, state: State) -> None:
        self._memory.time_shift[:, slot] = state.time_shift[:, 0]
        self._memory.channel_shift[:, slot] = state.channel_shift[:, 0]
        self._memory.wkv[:, slot] = state.wkv[:, 0]


class Stepper(Protocol):
    """What moves the pieces of a pool on by a token."""

    # Whether it draws tokens; else the samplers do.
    draws: bool

    def step(self, given: np.ndarray) -> tuple[list[int], Tensor]:
        """See `PooledModel.step`."""
        ...


class RunnerStepper:
    """Takes the states of the rows out of the pool, runs a runner over them and puts them back."""

    draws = False

    def __init__(self, runner: Runner, memory: State):
        self._runner = runner
        self._memory = memory

    def step(self, given: np.ndarray) -> tuple[list[int], Tensor]:
        """See `PooledModel.step`; the tokens are yet to be drawn."""
        memory, slots = self._memory, given[:, SLOT].astype(np.int64).tolist()
        ids = torch.from_numpy(given[:, TOKEN].astype(np.int64))[:, None]
        logits, after = self._runner.forward(ids, memory.pick(slots), False)
        memory.time_shift[:, slots] = after.time_shift
        memory.channel_shift[:, slots] = after.channel_shift
        memory.wkv[:, slots] = after.wkv
        return [OVERFLOW] * len(slots), logits[:, -1]


def _stepper(runner: Runner, memory: State, forbidden: Tensor) -> Stepper:
    """The model in torch works in the pool itself; any other runner has its own way with states."""
    if not isinstance(runner, TorchRunner):
        return RunnerStepper(runner, memory)
    model = runner.model
    kernels = pooled_kernels(model.kernels)
    record = cuda_graphs() if kernels.recordable else None
    return PooledModel(model.spec, model.weights, kernels, memory, forbidden, record)
