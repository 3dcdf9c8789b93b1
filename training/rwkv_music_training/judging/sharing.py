"""How much of some pieces stands in the training data already, in percentiles."""

from dataclasses import dataclass

import numpy as np

from rwkv_music_training.judging.copying import Copied


@dataclass(frozen=True)
class Sharing:
    """The longest stretch that each of some pieces shares with the training data."""

    stretches: tuple[Copied, ...]

    def lengths(self, *percents: float) -> list[float]:
        """Percentiles of the stretches in symbols."""
        return np.percentile([one.length for one in self.stretches], percents).tolist()

    def shares(self, *percents: float) -> list[float]:
        """Percentiles of the stretches as shares of their pieces, 0..1."""
        return np.percentile([one.share for one in self.stretches], percents).tolist()

    @property
    def half_known(self) -> int:
        """Pieces that repeat a known one for at least half of their length in one stretch."""
        return sum(one.share >= 0.5 for one in self.stretches)
