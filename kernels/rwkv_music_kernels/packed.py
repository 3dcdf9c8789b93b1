"""Where the documents of a packed batch lie; and documents one after the other, for backends without a way of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """All rows of a batch as sequences of one long row.

    ends: (S + 1,) int64, where each begins; kept: (S + 1,) int64, where the states kept of each for the backward pass
    begin; room: for how many there must be room.
    """

    ends: Tensor
    kept: Tensor
    room: int


def sequences(pieces: int, tokens: int, cu_seqlens: Tensor | None, device: torch.device, chunk: int) -> Sequences:
    """Of B rows of T tokens, or of the documents that cu_seqlens packs into one row; a state is kept every `chunk` tokens.

    Waits for no device.
    """
    if cu_seqlens is None:
        chunks = -(-tokens // chunk)
        rows = torch.arange(pieces + 1, device=device)
        return Sequences(rows * tokens, rows * chunks, pieces * chunks)
    chunks = (cu_seqlens.diff() + chunk - 1) // chunk
    kept = torch.nn.functional.pad(chunks.cumsum(0), (1, 0))
    return Sequences(cu_seqlens.contiguous(), kept, tokens // chunk + cu_seqlens.numel() - 1)


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
    # To split, and not to slice, for the gradients of slices are as long as the whole, each.
    documents = zip(*(row.split(cu_seqlens.diff().tolist(), dim=1) for row in rows), state.split(1), strict=True)
    ys, states = zip(*(recurrence(*document) for document in documents), strict=True)
    return torch.cat(ys, dim=1), torch.cat(states)
