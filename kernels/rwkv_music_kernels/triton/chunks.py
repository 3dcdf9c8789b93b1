"""Sequences cut into chunks: where each lies, and the one walk over them that hands the state on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rwkv_music_kernels.triton.sequences import launch

# A part of several kernels; triton.jit's own type forbids to unpack what one returns.
_part: Any = triton.jit

# Rows of the state in one program of the walk: as few as a matrix product takes, so that many share it.
ROWS = 16


@dataclass(frozen=True)
class Chunks:
    """Every sequence's chunks, one sequence behind the other.

    first: (S + 1,) int64, the number of each sequence's first chunk; begins, stops: (chunks,) int64, the tokens of
    each, the last of a sequence may be short; those beyond first[S] are empty.
    """

    first: Tensor
    begins: Tensor
    stops: Tensor


def chunks(pieces: int, tokens: int, cu_seqlens: Tensor | None, device: torch.device, length: int) -> Chunks:
    """Chunks of `length` tokens of B rows of T tokens, or of the documents that cu_seqlens packs into one row."""
    if cu_seqlens is None:
        each = -(-tokens // length)
        row = torch.arange(pieces, device=device)[:, None] * tokens
        start = torch.arange(each, device=device) * length
        stops = (start + length).clamp(max=tokens)
        first = torch.arange(pieces + 1, device=device) * each
        return Chunks(first, (row + start).flatten(), (row + stops).flatten())
    counts = (cu_seqlens.diff() + length - 1) // length
    first = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    number = torch.arange(tokens // length + counts.numel(), device=device)
    owner = torch.searchsorted(first, number, right=True) - 1
    end = torch.nn.functional.pad(cu_seqlens[1:], (0, 1))[owner]
    begins = torch.minimum(cu_seqlens[owner] + (number - first[owner]) * length, end)
    return Chunks(first, begins, torch.minimum(begins + length, end))


@_part
def dot(x, y, PRECISION: tl.constexpr):
    """The matrix product of two float32 tiles."""
    return tl.dot(x, y, input_precision=PRECISION)


@triton.jit
def scan_kernel(
    state, decay, moved, written, starts, last, first, heads, MOVES: tl.constexpr, REVERSE: tl.constexpr,
    PRECISION: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """S <- S diag(decay) + S moved + written over the chunks of a sequence, for ROWS rows of one head's S.

    state, last: (S, H, N, N), before and after; decay: (chunks, H, N); moved, written: (chunks, H, N, N); starts: the
    same, S before each chunk. REVERSE: from the last chunk to the first, with `moved` transposed. MOVES: False where
    nothing is moved, which is RWKV-6.
    """
    sequence, head = tl.program_id(0).to(tl.int64) // heads, tl.program_id(0).to(tl.int64) % heads
    rows, columns = tl.program_id(1) * ROWS + tl.arange(0, ROWS), tl.arange(0, N)
    part = rows[:, None] * N + columns[None, :]
    if REVERSE:  # noqa: SIM108 (known when compiled, the other is not)
        square = columns[:, None] + columns[None, :] * N
    else:
        square = columns[:, None] * N + columns[None, :]
    s = tl.load(state + (sequence * heads + head) * N * N + part)
    begin, end = tl.load(first + sequence), tl.load(first + sequence + 1)
    for i in range(end - begin):
        if REVERSE:  # noqa: SIM108
            at = (end - 1 - i) * heads + head
        else:
            at = (begin + i) * heads + head
        tl.store(starts + at * N * N + part, s)
        new = s * tl.load(decay + at * N + columns)[None, :] + tl.load(written + at * N * N + part)
        if MOVES:
            new += dot(s, tl.load(moved + at * N * N + square), PRECISION)
        s = new
    tl.store(last + (sequence * heads + head) * N * N + part, s)


def scan(
    state: Tensor, decay: Tensor, moved: Tensor | None, written: Tensor, first: Tensor, precision: str, reverse: bool
) -> tuple[Tensor, Tensor]:
    """The states before each chunk, (chunks, H, N, N), and after the last, (S, H, N, N)."""
    count, heads, size, _ = state.shape
    starts, last = torch.empty_like(written), torch.empty_like(state)
    grid = (count * heads, size // ROWS)
    launch(
        scan_kernel, grid, state, decay, written if moved is None else moved, written, starts, last, first, heads,
        moved is not None, reverse, precision, size, ROWS, warps=4,
    )  # fmt: skip
    return starts, last


def compile_cases() -> Iterator[tuple[Any, dict[str, str], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    tensors = dict.fromkeys(("state", "decay", "moved", "written", "starts", "last"), "*fp32")
    signature = {**tensors, "first": "*i64", "heads": "i32"}
    for moves, precision in ((False, "tf32"), (True, "tf32"), (True, "ieee")):
        for reverse in (False, True):
            constants = {"MOVES": moves, "REVERSE": reverse, "PRECISION": precision, "N": 64, "ROWS": ROWS}
            label = f"scan {'moving ' * moves}{'backward ' * reverse}{precision} 64"
            yield scan_kernel, signature, constants, 4, label
