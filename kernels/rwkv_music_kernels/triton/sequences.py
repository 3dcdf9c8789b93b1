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


def launch(kernel: Any, grid: tuple[Any, ...], *arguments: Any, warps: int) -> None:
    """Start a Triton kernel; its type says nothing of `num_warps`."""
    kernel[grid](*arguments, num_warps=warps)
