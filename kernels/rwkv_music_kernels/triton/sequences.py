"""Where the sequences of a batch begin and end, and where the states kept for the backward pass lie."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Tokens from one kept state to the next; those between are made again for the backward pass.
CHUNK = 16


@dataclass(frozen=True)
class Sequences:
    """All rows of a batch as sequences of one long row.

    ends: (S + 1,) int64, where each begins; kept: (S + 1,) int64, where its kept states begin; room: for how many.
    """

    ends: Tensor
    kept: Tensor
    room: int


def sequences(pieces: int, tokens: int, cu_seqlens: Tensor | None, device: torch.device) -> Sequences:
    """Of B rows of T tokens, or of the documents that cu_seqlens packs into one row."""
    if cu_seqlens is None:
        chunks = -(-tokens // CHUNK)
        rows = torch.arange(pieces + 1, device=device)
        return Sequences(rows * tokens, rows * chunks, pieces * chunks)
    chunks = (cu_seqlens.diff() + CHUNK - 1) // CHUNK
    kept = torch.nn.functional.pad(chunks.cumsum(0), (1, 0))
    return Sequences(cu_seqlens, kept, tokens // CHUNK + cu_seqlens.numel() - 1)


def openings(cu_seqlens: Tensor, tokens: int) -> Tensor:
    """For each token the number of the document that it opens, or -1; and one more behind the last, which opens S.

    Returns (T + 1,) int64; without waiting for the device.
    """
    token = torch.arange(tokens + 1, device=cu_seqlens.device)
    # Of documents that begin at the same token all but the last are empty.
    document = torch.searchsorted(cu_seqlens[1:].contiguous(), token, right=True)
    return torch.where(cu_seqlens[document] == token, document, -1)


def launch(kernel: Any, grid: tuple[Any, ...], *arguments: Any, warps: int) -> None:
    """Start a Triton kernel; its type says nothing of `num_warps`."""
    kernel[grid](*arguments, num_warps=warps)
