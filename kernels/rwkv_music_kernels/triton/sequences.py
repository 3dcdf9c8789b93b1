"""What all kernels on GPUs need of a batch: how far apart states are kept, which tokens open a document, a start."""

from typing import Any

import torch
from torch import Tensor

# Tokens from one kept state to the next; those between are made again for the backward pass.
CHUNK = 16


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
