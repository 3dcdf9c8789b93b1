"""A step of learning: the gradient of a whole step, clipped, and what optimiser and average make of it."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from rwkv_music.model.state import State
from rwkv_music_training.learning.average import Average
from rwkv_music_training.learning.module import Learner
from rwkv_music_training.learning.optimiser import begin, make_optimisers, remembered, set_learning_rate
from rwkv_music_training.learning.packing import Batch, Batches
from rwkv_music_training.scale.parallel import Parallel


@dataclass(frozen=True)
class Outcome:
    """What became of a step, the same on every process."""

    # Mean nats over the counted positions of the whole step, and their number.
    loss: float
    tokens: int
    # Before clipping.
    gradient_norm: float
    # Nothing was changed, because the loss or the gradient was not finite.
    skipped: bool
    # Some process was asked to stop.
    stopping: bool


class Stepper:
    """A learner with its optimisers, the average of its weights and what its lanes remember."""

    def __init__(self, learner: Learner, batches: Batches, parallel: Parallel):
        self.learner = learner
        self.parallel = parallel
        self._config = learner.config
        self._batches = batches
        machine = self._config.machine
        # Micro-batches in parallel, one thread each, beat threads inside every operation, whose number changes last digits.
        self._threads = machine.threads if parallel.side_by_side else 1
        if parallel.device.type == "cpu":
            torch.set_num_threads(1 if self._threads > 1 else machine.threads)
        if machine.compile:
            for block in learner.blocks:
                block.compile(dynamic=True)
        parallel.check(self._config.data.pieces)
        learner.passing = parallel.passing
        self.module = parallel.wrap(learner)
        learner.teachers = learner.teachers and learner.teachers.on(parallel.device)
        # Sharding has put others in the place of the parameters.
        self.learning = learner.learning()
        self.optimisers = make_optimisers(self.learning, self._config.optimiser)
        begin(self.optimisers)
        self.average = Average(self.learning, self._config.optimiser.average)
        self._carried: dict[int, State] = {}
        self._taken = torch.zeros((), dtype=torch.int64)

    @property
    def threads(self) -> int:
        """Micro-batches at a time."""
        return self._threads

    def step(self, number: int, rate: float, stopping: bool = False) -> Outcome:
        """Step `number` of the run, counted from 0. `stopping`: this process was asked to stop."""
        parallel = self.parallel
        batches = self._batches.at(number, parallel.reader, parallel.readers)
        ended: dict[int, State] = {}

        def read(batch: Batch) -> tuple[torch.Tensor, float]:
            batch = batch if parallel.passing is None else parallel.passing.cut(batch)
            told = self.module(batch.to(parallel.device), number, self._before(batch))
            if batch.lanes is not None and told.carried is not None:
                ended.update(_by_lane(batch.lanes.numbers, State(*told.carried)))
            return told.nats, batch.tokens

        rounds = -(-self._config.data.pieces // parallel.readers)
        dealt = parallel.gradients(self.module, batches, rounds, read, threads=self._threads, others=(float(stopping),))
        norm = parallel.clip(list(self.learning.values()), self._config.optimiser.clip)
        loss = dealt.loss / max(dealt.count, 1)
        skipped = not (math.isfinite(norm) and math.isfinite(loss))
        if not skipped:
            for optimiser in self.optimisers:
                set_learning_rate(optimiser, rate)
                optimiser.step()
            self._taken += 1
            self.average.follow(int(self._taken))
            self._carried |= ended
        return Outcome(math.nan if skipped else loss, int(dealt.count), norm, skipped, dealt.others[0] > 0)

    def costs(self, batch: Batch, carried: State | None) -> tuple[torch.Tensor, State | None]:
        """In evaluation: nats of every position (T,), and what the lanes remember at the end."""
        told = self.module(batch, 0, carried)
        return told.nats, None if told.carried is None else State(*told.carried)

    def _before(self, batch: Batch) -> State | None:
        """What the lanes of a batch remember; None without lanes. Lanes not met before begin with nothing."""
        if batch.lanes is None:
            return None
        lanes = batch.lanes.numbers.tolist()
        return State.stack([self._lane(lane) for lane in lanes])

    def _lane(self, lane: int) -> State:
        if lane not in self._carried:
            self._carried[lane] = State.zeros(self.learner.spec, 1, self.parallel.device)
        return self._carried[lane]

    def state(self) -> dict[str, Any]:
        """Everything that continues a run, by kind and name: the tensors themselves, to be saved or loaded into."""
        kinds: dict[str, Any] = {
            "weights": {name: each.detach() for name, each in self.learner.named_parameters()},
            "optimiser": remembered(self.optimisers, self.learning),
            "average": self.average.tensors,
            "taken": self._taken,
        }
        if self._config.data.carry:
            own = range(self.parallel.reader, self._config.data.pieces, self.parallel.readers)
            each = self._config.lanes // self._config.data.pieces
            lanes = [lane for piece in own for lane in range(piece * each, (piece + 1) * each)]
            kinds["carried"] = {str(lane): dict(vars(self._lane(lane))) for lane in lanes}
        return kinds


def _by_lane(numbers: torch.Tensor, state: State) -> dict[int, State]:
    """The states of some lanes, one by one."""
    return {lane: state.pick([place]) for place, lane in enumerate(numbers.tolist())}
