"""Dropout and blanks that depend on nothing but their seeds: what is computed twice leaves out the same."""

import numpy as np
import torch
from torch import Tensor

# The place of blanks among those that dropout counts from 0.
BLANKS = 1 << 20


class Dropout:
    """Zeroes a share of what comes out of each mix and scales up the rest."""

    def __init__(self, share: float, *seeds: int):
        self._share = share
        self._seeds = seeds

    def __call__(self, x: Tensor, place: int) -> Tensor:
        """x: any shape; place: the number of the mix in the model. The same place leaves out the same channels."""
        dropped = torch.rand(x.shape, generator=_generator(x, *self._seeds, place), device=x.device) < self._share
        return x.masked_fill(dropped, 0.0) * (1 / (1 - self._share))


def dropout(share: float, *seeds: int) -> Dropout | None:
    """Dropout from its own generators; None for share 0."""
    return Dropout(share, *seeds) if share > 0 else None


def blanked(ids: Tensor, cu_seqlens: Tensor, share: float, *seeds: int) -> Tensor:
    """Ids of a row of documents, (1, T) int64, of which about this share is blank (id 0): data noising.

    Every document loses a share of its own, evenly between none and twice the share; its begin, at `cu_seqlens` (S + 1,),
    stays. What cannot rely on every id is less able to learn pieces by heart. Source: Xie et al. 2017, arXiv 1703.02573.
    """
    generator = _generator(ids, *seeds, BLANKS)
    begins, documents = cu_seqlens[:-1], len(cu_seqlens) - 1
    shares = 2 * share * torch.rand(documents, generator=generator, device=ids.device)
    each = torch.repeat_interleave(shares, cu_seqlens.diff(), output_size=ids.shape[1])
    blank = torch.rand(ids.shape, generator=generator, device=ids.device) < each
    blank[0, begins] = False
    return ids.masked_fill(blank, 0)


def _generator(like: Tensor, *seeds: int) -> torch.Generator:
    mixed = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator(like.device).manual_seed(int(mixed[0] >> np.uint64(1)))
