"""A few steps on trial: how long a step and a reading take here, and how much memory they need."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.learning.reading import Readings
from rwkv_music_training.scale.parallel import Parallel

# The first step is not timed: it compiles and warms up.
STEPS = 3


@dataclass(frozen=True)
class Trial:
    """What was measured."""

    step_seconds: float
    reading_seconds: float
    # Bytes at the most, of the GPU where there is one.
    memory: int
    # Nats a token that the pieces held out cost before anything is learnt.
    nats: float
    # Numbers that learn, and all that the model has while it learns.
    learning: int
    numbers: int

    def seconds(self, steps: int, readings: int) -> float:
        """How long a run would take."""
        return steps * self.step_seconds + readings * self.reading_seconds


def measure(config: TrainingConfig, lesson: Lesson, parallel: Parallel) -> Trial:
    """Take the first steps of a run and forget them. Raises like `Run`."""
    run = Run(config, lesson, Path(), parallel)
    assert lesson.valid is not None
    readings = Readings(lesson.valid, config.data.valid_tokens, config.data.pieces)
    run.stepper.module.eval()
    begun = time.monotonic()
    counted = readings.read(run.stepper.costs, parallel.device, parallel.reader, parallel.readers, run.stepper.threads)
    reading_seconds = time.monotonic() - begun
    nats, positions = parallel.sums(float(counted.nats.sum()), float(counted.positions.sum()))
    run.stepper.module.train()
    for step in range(STEPS):
        if step == 1:
            begun = time.monotonic()
        run.stepper.step(step, 0.0, False)
    if parallel.device.type == "cuda":
        torch.cuda.synchronize(parallel.device)
    step_seconds = (time.monotonic() - begun) / (STEPS - 1)
    return Trial(
        parallel.agree(step_seconds),
        parallel.agree(reading_seconds),
        _memory(parallel),
        nats / max(1.0, positions),
        sum(each.numel() for each in run.stepper.learning.values()),
        sum(each.numel() for each in run.stepper.learner.parameters()),
    )


def _memory(parallel: Parallel) -> int:
    """Bytes that this process has held at the most; 0 where the system does not tell."""
    if parallel.device.type == "cuda":
        return torch.cuda.max_memory_allocated(parallel.device)
    if sys.platform == "win32":
        return 0
    import resource

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else 1024 * held
