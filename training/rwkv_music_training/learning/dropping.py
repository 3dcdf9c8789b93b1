"""Dropout that depends on nothing but its seeds: what is computed twice leaves out the same."""

import numpy as np
import torch
from torch import Tensor


class Dropout:
    """Zeroes a share of what comes out of each mix and scales up the rest."""

    def __init__(self, share: float, *seeds: int):
        self._share = share
        self._seeds = seeds

    def __call__(self, x: Tensor, place: int) -> Tensor:
        """x: any shape; place: the number of the mix in the model. The same place leaves out the same channels."""
        mixed = np.random.SeedSequence((*self._seeds, place)).generate_state(1, np.uint64)
        generator = torch.Generator(x.device).manual_seed(int(mixed[0] >> np.uint64(1)))
        dropped = torch.rand(x.shape, generator=generator, device=x.device) < self._share
        return x.masked_fill(dropped, 0.0) * (1 / (1 - self._share))


def dropout(share: float, *seeds: int) -> Dropout | None:
    """Dropout from its own generators; None for share 0."""
    return Dropout(share, *seeds) if share > 0 else None
