"""The learning rate of a step."""

import math

from rwkv_music_training.learning.config import Optimiser, Schedule


def learning_rate(step: int, done: float, optimiser: Optimiser, schedule: Schedule) -> float:
    """The rate of a step, counted from 0; `done` is the share of the run that is over, 0..1.

    cosine: half a turn from the full rate to the final one (the official trainers). wsd: the full rate, then a straight
    line to the final one over the last `decay` of the run (Hu et al. 2024, arXiv 2404.06395). constant: the full rate.
    All times a linear warm-up from 1 %.
    """
    done = min(max(done, 0.0), 1.0)
    if schedule.shape == "cosine":
        full = (1 + math.cos(math.pi * done)) / 2
    elif schedule.shape == "wsd":
        full = min(1.0, (1 - done) / schedule.decay)
    else:
        full = 1.0
    rate = optimiser.final_learning_rate + (optimiser.learning_rate - optimiser.final_learning_rate) * full
    if step < schedule.warmup:
        rate *= 0.01 + 0.99 * step / schedule.warmup
    return rate
