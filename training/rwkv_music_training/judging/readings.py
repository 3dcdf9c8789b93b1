"""What validation documents cost a model, in the units that its kind of music is counted in."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Cost(NamedTuple):
    """One number of a reading."""

    # Its column in the curve, and its name in config.json.
    column: str
    key: str
    bits: float


class Reading(Protocol):
    """What some documents cost."""

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The cost that is quoted and that chooses the best weights, then others; always the same names."""
        ...


def headline(reading: Reading) -> float:
    """The cost that is quoted."""
    return reading.costs[0].bits


def told(readings: Mapping[str, Reading]) -> dict[str, dict[str, float]]:
    """Costs by name, then by source, as config.json holds them."""
    by_key: dict[str, dict[str, float]] = {}
    for source, reading in readings.items():
        for cost in reading.costs:
            by_key.setdefault(cost.key, {})[source] = round(cost.bits, 4)
    return by_key
