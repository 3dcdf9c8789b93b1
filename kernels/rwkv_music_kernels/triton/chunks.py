"""Sequences cut into chunks: where each lies, what their kernels share, and the walk that hands the state on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rwkv_music_kernels.triton.sequences import launch

# Channels of the heads whose states every GPU holds while it walks over the chunks.
CHUNKED_SIZES = (32, 64)
# From this many tokens a sequence, in the mean of a batch, chunks replace the loop over tokens: two chunks, the least
# that hand a state on.
CHUNKED_FROM = 64
# Tokens of a chunk, channels of a program where it needs not all of a head's at once, and its warps.
LENGTH, BLOCK, WARPS = 32, 32, 8
# Rows of the state in one program of the walk: as few as a matrix product takes, so that many share it.
ROWS = 16

# A part of several kernels; triton.jit's own type forbids to unpack what one returns.
_part: Any = triton.jit


@dataclass(frozen=True)
class Chunks:
    """Every sequence's chunks, one sequence behind the other.

    first: (S + 1,) int64, the number of each sequence's first chunk; begins, stops: (chunks,) int64, the tokens of
    each, the last of a sequence may be short; those beyond first[S] are empty.
    """

    first: Tensor
    begins: Tensor
    stops: Tensor


def chunks(pieces: int, tokens: int, cu_seqlens: Tensor | None, device: torch.device) -> Chunks:
    """Chunks of LENGTH tokens of B rows of T tokens, or of the documents that cu_seqlens packs into one row."""
    if cu_seqlens is None:
        each = -(-tokens // LENGTH)
        row = torch.arange(pieces, device=device)[:, None] * tokens
        begins = torch.arange(each, device=device) * LENGTH
        stops = (begins + LENGTH).clamp(max=tokens)
        first = torch.arange(pieces + 1, device=device) * each
        return Chunks(first, (row + begins).flatten(), (row + stops).flatten())
    counts = (cu_seqlens.diff() + LENGTH - 1) // LENGTH
    first = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    every = torch.arange(tokens // LENGTH + counts.numel(), device=device)
    owner = torch.searchsorted(first, every, right=True) - 1
    end = torch.nn.functional.pad(cu_seqlens[1:], (0, 1))[owner]
    begins = torch.minimum(cu_seqlens[owner] + (every - first[owner]) * LENGTH, end)
    return Chunks(first, begins, torch.minimum(begins + LENGTH, end))


def many(r: Tensor, state: Tensor) -> bool:
    """Whether r, (B, T, H, N), is counted in chunks.

    Asks only the shapes, so that no GPU is waited for: packed documents are as long as they are in the mean.
    """
    return r.shape[-1] in CHUNKED_SIZES and r.shape[0] * r.shape[1] >= CHUNKED_FROM * state.shape[0]


@_part
def dot(x, y, PRECISION: tl.constexpr):
    """The matrix product of two float32 tiles."""
    return tl.dot(x, y, input_precision=PRECISION)


@_part
def number(heads):
    """This program's number among all chunks and heads."""
    return tl.program_id(0).to(tl.int64) * heads + tl.program_id(1)


@_part
def tokens(begins, stops, heads, part, N: tl.constexpr, LENGTH: tl.constexpr, BLOCK: tl.constexpr):
    """Where a part of this program's tokens lies, (LENGTH, BLOCK), which tokens there are, which channels, and `number`."""
    chunk, columns = tl.program_id(0), part * BLOCK + tl.arange(0, BLOCK)
    t = tl.load(begins + chunk) + tl.arange(0, LENGTH)
    at = (t * heads + tl.program_id(1))[:, None] * N + columns[None, :]
    return at, (t < tl.load(stops + chunk))[:, None], columns, number(heads)


@_part
def load(x, at, inside):
    """In float32, zero outside."""
    return tl.load(x + at, mask=inside, other=0.0).to(tl.float32)


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


def start(
    kernel: Any, where: Chunks, precision: str, *tensors: Tensor, blocks: bool = True, which: tuple[int, ...] = ()
) -> None:
    """Start a kernel for every chunk, head and (with `blocks`) BLOCK channels; the first tensor is (…, H, N)."""
    heads, size = tensors[0].shape[-2:]
    grid = (where.begins.numel(), heads, size // BLOCK if blocks else 1)
    launch(
        kernel, grid, *tensors, where.begins, where.stops, heads, *which, size, LENGTH, precision, BLOCK, warps=WARPS
    )  # fmt: skip


def precision_of(v: Tensor) -> str:
    """How matrix products round their factors: not at all, or to ten bits where the results keep no more."""
    return "ieee" if v.dtype == torch.float32 else "tf32"


def compile_cases() -> Iterator[tuple[Any, dict[str, str], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    tensors = dict.fromkeys(("state", "decay", "moved", "written", "starts", "last"), "*fp32")
    signature = {**tensors, "first": "*i64", "heads": "i32"}
    for moves, precision in ((False, "tf32"), (True, "tf32"), (True, "ieee")):
        for reverse in (False, True):
            constants = {"MOVES": moves, "REVERSE": reverse, "PRECISION": precision, "N": 64, "ROWS": ROWS}
            label = f"scan {'moving ' * moves}{'backward ' * reverse}{precision} 64"
            yield scan_kernel, signature, constants, 4, label


def chunk_cases(
    name: str, kernels: tuple[Any, ...], floats: tuple[str, ...]
) -> Iterator[tuple[Any, dict[str, str], dict[str, Any], int, str]]:
    """The cases of kernels that `start` starts; floats: the tensors that are float32 whatever comes in."""
    types = {**dict.fromkeys(floats, "*fp32"), "begins": "*i64", "stops": "*i64", "heads": "i32"}
    for kind, precision in (("bf16", "tf32"), ("fp32", "ieee")):
        known = {"WHICH": 0, "N": 64, "LENGTH": LENGTH, "PRECISION": precision, "BLOCK": BLOCK}
        for kernel in kernels:
            constants = {word: value for word, value in known.items() if word in kernel.arg_names}
            signature = {word: types.get(word, f"*{kind}") for word in kernel.arg_names if word not in known}
            yield kernel, signature, constants, WARPS, f"{name} {kernel.__name__} {kind} 64"
