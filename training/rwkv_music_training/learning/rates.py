"""The learning-rate range test: how the loss falls, and then rises, while the rate grows (Smith 2017, 1506.01186)."""

import math
from dataclasses import dataclass

from rwkv_music_training.learning.stepping import Stepper

# The loss is smoothed over about this many steps.
SMOOTHED = 10
# A loss so many times the lowest one has left the range.
TOO_HIGH = 1.5


@dataclass(frozen=True)
class RangeTest:
    """What a range test found."""

    # Rate and smoothed loss of every step, rising rates.
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The rate at which the loss was lowest: a run at this rate is at the edge of what works."""
        return self.rates[self.losses.index(min(self.losses))]

    @property
    def suggested(self) -> float:
        """A tenth of that: the usual first choice after a range test."""
        return self.lowest / 10


def find_rate(stepper: Stepper, low: float = 1e-6, high: float = 1e-1, steps: int = 200) -> RangeTest:
    """Step with rates that grow from `low` to `high` by the same factor, until the loss is much too high.

    The learner is spoilt by it. Raises ValueError unless 0 < low < high and steps >= 2.
    """
    if not 0 < low < high or steps < 2:
        raise ValueError("a range test needs 0 < low < high and at least two steps")
    keep = 1 - 1 / SMOOTHED
    rates, losses, mean = [], [], 0.0
    for step in range(steps):
        rate = low * (high / low) ** (step / (steps - 1))
        outcome = stepper.step(step, rate)
        if outcome.stopping or outcome.skipped:
            break
        mean = keep * mean + (1 - keep) * outcome.loss
        smooth = mean / (1 - keep ** (step + 1))
        if not math.isfinite(smooth) or (losses and smooth > TOO_HIGH * min(losses)):
            break
        rates.append(rate)
        losses.append(smooth)
    return RangeTest(tuple(rates), tuple(losses))
