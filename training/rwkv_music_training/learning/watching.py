"""What a run tells those who watch it: progress, curves, samples and pages are made of these events alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.progress import Progress


@dataclass(frozen=True)
class Begun:
    """A run begins, or goes on after `progress.step` steps."""

    config: TrainingConfig
    folder: Path
    spec: Spec
    # Numbers in all tensors, and in those that learn.
    parameters: int
    learning: int
    steps_per_epoch: int
    # Steps of the whole run; 0 when it is as long as its minutes.
    steps: int
    # "cpu" or "cuda:0", and processes that share a step.
    device: str
    processes: int
    progress: Progress


@dataclass(frozen=True)
class Step:
    """One step is over; `step` counts those tried, this one included."""

    step: int
    # Passes through the music so far, and the share of the run that is over, 0..1.
    epoch: float
    done: float
    # Mean nats of a counted position; nan where the step was left out.
    loss: float
    rate: float
    # Before clipping.
    gradient_norm: float
    # Left out because the loss or the gradient was not finite, and how many were so far.
    skipped: bool
    skipped_so_far: int
    # Counted positions of this step, and of the run.
    tokens: int
    tokens_so_far: int
    # Seconds of this step, and of the run over all resumes.
    seconds: float
    seconds_so_far: float


@dataclass(frozen=True)
class Reading:
    """The validation documents were read."""

    step: int
    epoch: float
    tokens: int
    seconds: float
    rate: float
    # Mean training loss in nats since the last reading.
    train: float
    # Mean nats of a position of the validation documents, and by source.
    valid: float
    sources: Mapping[str, float]
    # Whether it is the best so far, and which is.
    is_best: bool
    best: float
    best_step: int


@dataclass(frozen=True)
class Sample:
    """The moment to let the model write something: after a reading. What is written belongs into `folder`."""

    step: int
    # The weights that were read, on the CPU: ids in, logits out; and the state before the first token.
    model: Model
    start: State
    folder: Path


@dataclass(frozen=True)
class End:
    """The run is over."""

    progress: Progress
    # "finished", "stopped" (by a signal) or "out of patience".
    reason: str
    # The folder of the best model; None where nothing was read yet.
    best: Path | None


class Watcher(Protocol):
    """One who watches a run. Only the first of several processes has watchers; they must not change the model."""

    def begin(self, event: Begun) -> None: ...

    def step(self, event: Step) -> None: ...

    def reading(self, event: Reading) -> None: ...

    def sample(self, event: Sample) -> None: ...

    def end(self, event: End) -> None: ...


class Quiet:
    """A watcher that does nothing; others take what they need from it."""

    def begin(self, event: Begun) -> None:
        """See `Watcher`."""

    def step(self, event: Step) -> None:
        """See `Watcher`."""

    def reading(self, event: Reading) -> None:
        """See `Watcher`."""

    def sample(self, event: Sample) -> None:
        """See `Watcher`."""

    def end(self, event: End) -> None:
        """See `Watcher`."""
