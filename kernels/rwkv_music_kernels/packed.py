"""Packed documents for the backends that have no way of their own with them: one after the other."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def each_document(
    recurrence: Callable[..., tuple[Tensor, Tensor]],
    rows: Sequence[Tensor],
    state: Tensor,
    cu_seqlens: Tensor,
) -> tuple[Tensor, Tensor]:
    """`recurrence(*rows, state)` over every document on its own, joined again.

    rows: tensors (1, T, ...), cut along T by cu_seqlens (S + 1,); state: (S, ...). The caller has checked all.
    Returns y (1, T, ...) and the new states (S, ...).
    """
    ends = cu_seqlens.tolist()
    ys, states = [], []
    for number, (start, stop) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        own = state[number : number + 1]
        y, own = recurrence(*(row[:, start:stop] for row in rows), own)
        ys.append(y)
        states.append(own)
    return torch.cat(ys, dim=1), torch.cat(states)
