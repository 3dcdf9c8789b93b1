"""The draw of the next token on GPUs: a program a row finds where the cuts lie without sorting, four bits at a time.

Order and meaning are those of `rwkv_music.sampling.Sampler`: top-k, top-p, min-p, then temperature; of equals the lower
ids stay. Sums are float32, so that a draw at the very edge of a token may fall to its neighbour.
"""

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.slots import OVERFLOW, SETTINGS
from rwkv_music_kernels.triton.sequences import launch

# The most logits that a program looks at in one go, and the edges that it holds them against: 2^4 for four bits.
PIECE = 512
EDGES = 16

# A part of the kernel; triton.jit's own type forbids to unpack what one returns.
_part: Any = triton.jit


def draw_rows(logits: Tensor, settings: Tensor, uniforms: Tensor, forbidden: Tensor | None) -> Tensor:
    """See `rwkv_music_kernels.slots.PlainSlots.draw`. Raises KernelError for shapes and dtypes other than told there."""
    rows, vocabulary = logits.shape
    if logits.dtype != torch.float32 or settings.dtype != torch.float64 or uniforms.dtype != torch.float64:
        raise KernelError("logits are drawn from as float32, with settings and uniforms in float64")
    if settings.shape != (rows, SETTINGS) or uniforms.shape != (rows,):
        raise KernelError(f"{rows} rows need settings ({rows}, {SETTINGS}) and uniforms ({rows},)")
    if forbidden is not None and (forbidden.shape != logits.shape or forbidden.dtype != torch.bool):
        raise KernelError(f"what is forbidden must be bool of shape {tuple(logits.shape)}")
    logits, settings, uniforms = logits.contiguous(), settings.contiguous(), uniforms.contiguous()
    ids = torch.empty(rows, dtype=torch.int64, device=logits.device)
    # A kernel wants a pointer also where it reads nothing.
    mask = ids if forbidden is None else forbidden.contiguous().view(torch.uint8)
    if rows:
        tensors = (logits, mask, settings, uniforms, ids)
        tile = (forbidden is not None, OVERFLOW, SETTINGS, EDGES, piece_of(vocabulary))
        launch(draw, (rows,), *tensors, vocabulary, *tile, warps=warps_of(tile[-1]))
    return ids


def piece_of(vocabulary: int) -> int:
    """Logits at once, of the vocabulary alone: the number of rows changes nothing."""
    return min(PIECE, max(32, 1 << (vocabulary - 1).bit_length()))


def warps_of(piece: int) -> int:
    """Warps for a piece of logits, held against all edges at once."""
    return max(1, piece // 128)


@_part
def _piece(logits, mask, start, vocabulary, MASKED: tl.constexpr, PIECE: tl.constexpr):
    """Ids, logits and keys of a piece: integers in the order of the logits. Minus infinity is what may not come."""
    i = start + tl.arange(0, PIECE)
    x = tl.load(logits + i, mask=i < vocabulary, other=-float("inf"))
    if MASKED:
        x = tl.where(tl.load(mask + i, mask=i < vocabulary, other=1) != 0, -float("inf"), x)
    # Both zeros are one number and must have one key.
    x = tl.where(x == 0.0, 0.0, x)
    bits = x.to(tl.int32, bitcast=True)
    return i, x, bits ^ ((bits >> 31) & 0x7FFFFFFF)


@_part
def _amount(i, x, vocabulary, top, COUNTED: tl.constexpr):
    """What a token counts for: one, or its probability up to a common factor."""
    return tl.where(i < vocabulary, 1.0, 0.0) if COUNTED else tl.exp(x - top)


@_part
def _held(
    logits, mask, vocabulary, top, above, limit, edges,
    COUNTED: tl.constexpr, MASKED: tl.constexpr, EDGES: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """How much of those that an earlier cut (above, limit) left has a key from each edge on."""
    total = tl.zeros((PIECE, EDGES), tl.float32)
    for start in range(0, vocabulary, PIECE):
        i, x, key = _piece(logits, mask, start, vocabulary, MASKED, PIECE)
        amount = tl.where((key > above) | ((key == above) & (i <= limit)), _amount(i, x, vocabulary, top, COUNTED), 0.0)
        total += tl.where(key[:, None] >= edges[None, :], amount[:, None], 0.0)
    return tl.sum(total, axis=0)


@_part
def _cut(
    logits, mask, vocabulary, top, above, limit, need,
    COUNTED: tl.constexpr, MASKED: tl.constexpr, EDGES: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """The fewest highest that hold `need`, or all: those above the key returned first, at it the ids up to the second."""
    place = tl.arange(0, EDGES)
    edge = tl.full((), -2147483648, tl.int32)
    for digit in range(8):
        shift = 28 - 4 * digit
        held = _held(
            logits, mask, vocabulary, top, above, limit, edge + (place << shift), COUNTED, MASKED, EDGES, PIECE
        )
        edge += tl.maximum(tl.sum((held >= need).to(tl.int32), axis=0) - 1, 0) << shift
    over = _held(logits, mask, vocabulary, top, above, limit, edge + 1 + place * 0, COUNTED, MASKED, EDGES, PIECE)
    before, last = tl.max(over, axis=0), tl.full((), -1, tl.int32)
    for start in range(0, vocabulary, PIECE):
        i, x, key = _piece(logits, mask, start, vocabulary, MASKED, PIECE)
        equal = ((key > above) | ((key == above) & (i <= limit))) & (key == edge)
        amount = tl.where(equal, _amount(i, x, vocabulary, top, COUNTED), 0.0)
        fits = equal & (before + tl.cumsum(amount, axis=0) - amount < need)
        last = tl.maximum(last, tl.max(tl.where(fits, i, -1), axis=0))
        before += tl.sum(amount, axis=0)
    # Where all that is left holds less than `need`, the earlier cut stands.
    return tl.maximum(edge, above), tl.where(edge < above, limit, last)


@_part
def _pick(
    logits, mask, vocabulary, top, above, limit, floor, temperature, uniform, MASKED: tl.constexpr, PIECE: tl.constexpr
):
    """The token at `uniform` among those left, when they lie in a row by their odds at this temperature."""
    total = tl.zeros((PIECE,), tl.float32)
    for start in range(0, vocabulary, PIECE):
        i, x, key = _piece(logits, mask, start, vocabulary, MASKED, PIECE)
        kept = ((key > above) | ((key == above) & (i <= limit))) & (x >= floor)
        total += tl.where(kept, tl.exp((x - top) / temperature), 0.0)
    spot, before = uniform * tl.sum(total, axis=0), tl.zeros((), tl.float32)
    found, last = tl.zeros((), tl.int32) + vocabulary, tl.zeros((), tl.int32)
    for start in range(0, vocabulary, PIECE):
        i, x, key = _piece(logits, mask, start, vocabulary, MASKED, PIECE)
        kept = ((key > above) | ((key == above) & (i <= limit))) & (x >= floor)
        odds = tl.where(kept, tl.exp((x - top) / temperature), 0.0)
        reached = before + tl.cumsum(odds, axis=0)
        # A sum in parts may dip by a rounding, so that only what has odds of its own may be drawn.
        found = tl.minimum(found, tl.min(tl.where((odds > 0.0) & (reached > spot), i, vocabulary), axis=0))
        last = tl.maximum(last, tl.max(tl.where(odds > 0.0, i, 0), axis=0))
        before += tl.sum(odds, axis=0)
    return tl.where(found < vocabulary, found, last)


@_part
def _first(logits, mask, vocabulary, top, MASKED: tl.constexpr, PIECE: tl.constexpr):
    """The lowest id of the highest logit."""
    found = tl.zeros((), tl.int32) + vocabulary
    for start in range(0, vocabulary, PIECE):
        i, x, _ = _piece(logits, mask, start, vocabulary, MASKED, PIECE)
        found = tl.minimum(found, tl.min(tl.where(x == top, i, vocabulary), axis=0))
    return found


@triton.jit
def draw(
    logits, mask, settings, uniforms, ids, vocabulary,
    MASKED: tl.constexpr, OVERFLOW: tl.constexpr, SETTINGS: tl.constexpr, EDGES: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits += row * vocabulary
    mask += row * vocabulary
    settings += row * SETTINGS
    highest = tl.full((PIECE,), -float("inf"), tl.float32)
    broken = tl.zeros((PIECE,), tl.int32)
    for start in range(0, vocabulary, PIECE):
        _, x, _ = _piece(logits, mask, start, vocabulary, MASKED, PIECE)
        highest = tl.maximum(highest, x)
        broken += (x != x).to(tl.int32)
    top = tl.max(highest, axis=0)
    drawn = tl.full((), OVERFLOW, tl.int32)
    if (tl.sum(broken, axis=0) == 0) & (top > -float("inf")) & (top < float("inf")):
        temperature = tl.load(settings).to(tl.float32)
        if temperature > 0.0:
            count = tl.load(settings + 1).to(tl.int32)
            share = tl.load(settings + 2).to(tl.float32)
            least = tl.load(settings + 3).to(tl.float32)
            share_first = tl.load(settings + 4) > 0.0
            above, limit = tl.full((), -2147483648, tl.int32), tl.zeros((), tl.int32) + vocabulary
            everything = above + tl.arange(0, EDGES) * 0
            total = tl.zeros((), tl.float32)
            if (share < 1.0) & share_first:
                held = _held(logits, mask, vocabulary, top, above, limit, everything, False, MASKED, EDGES, PIECE)
                total = tl.max(held, axis=0)
            if (count > 0) & (count < vocabulary):
                need = count.to(tl.float32)
                above, limit = _cut(logits, mask, vocabulary, top, above, limit, need, True, MASKED, EDGES, PIECE)
            if share < 1.0:
                if total == 0.0:
                    held = _held(logits, mask, vocabulary, top, above, limit, everything, False, MASKED, EDGES, PIECE)
                    total = tl.max(held, axis=0)
                need = share * total
                above, limit = _cut(logits, mask, vocabulary, top, above, limit, need, False, MASKED, EDGES, PIECE)
            floor = tl.full((), -float("inf"), tl.float32)
            if least > 0.0:
                floor = top + tl.log(least)
            uniform = tl.load(uniforms + row).to(tl.float32)
            drawn = _pick(logits, mask, vocabulary, top, above, limit, floor, temperature, uniform, MASKED, PIECE)
        else:
            drawn = _first(logits, mask, vocabulary, top, MASKED, PIECE)
    tl.store(ids + row, drawn.to(tl.int64))


def compile_cases() -> Iterator[tuple[Any, dict[str, Any], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    pointers = {"logits": "*fp32", "settings": "*fp64", "uniforms": "*fp64", "ids": "*i64", "vocabulary": "i32"}
    for vocabulary in (128, 20096):
        tile = {"OVERFLOW": OVERFLOW, "SETTINGS": SETTINGS, "EDGES": EDGES, "PIECE": piece_of(vocabulary)}
        case = {**pointers, "mask": "*u8"}
        yield draw, case, {"MASKED": True, **tile}, warps_of(tile["PIECE"]), f"draw of {vocabulary}"
