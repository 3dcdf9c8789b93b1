"""One token of every row over a pool of states, on GPUs: each program does its own row and head, so that a row's bits
depend neither on the others nor on how many they are."""

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.slots import PlainSlots
from rwkv_music_kernels.triton.elementwise import TritonElementwise
from rwkv_music_kernels.triton.fused import tile_of
from rwkv_music_kernels.triton.sample import draw_rows
from rwkv_music_kernels.triton.sequences import launch

# Rows of a head's state that a program takes; they do not touch one another.
VALUES = 16
CHANNELS = 256
SIZES = (32, 64, 128)
# Tokens and outputs that a program of a linear map takes, for few rows and for many, and inputs it reads in one go.
# Both tiles are multiplied by the same instruction in the same order of the inputs, so that both give the same bits:
# from 64 rows on, newer GPUs would take another one.
FEW, MANY = (16, 16), (32, 64)
DEPTH = 64
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class TritonSlots(TritonElementwise, PlainSlots):
    """`PlainSlots` in Triton; it looks at no value from the host."""

    name = "triton slots"
    recordable = True

    def wkv4(
        self, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `PlainSlots.wkv4`."""
        self.check(k, state, cu_seqlens)
        k, v, w, u = (x.contiguous() for x in (k, v, w, u))
        y, width = torch.empty_like(v), k.shape[2]
        grid = (k.shape[0], triton.cdiv(width, CHANNELS))
        if k.numel():
            launch(wkv4_step, grid, k, v, w, u, state, self.slots, y, width, CHANNELS, warps=2)
        return y, state.new_empty(0)

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `PlainSlots.wkv6`."""
        self.check(r, state, cu_seqlens)
        return self._step(wkv6_step, [r, k, v, w, u], torch.empty_like(v, memory_format=torch.contiguous_format), state)

    def wkv7(
        self,
        r: Tensor,
        w: Tensor,
        k: Tensor,
        v: Tensor,
        a: Tensor,
        b: Tensor,
        state: Tensor,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `PlainSlots.wkv7`."""
        self.check(r, state, cu_seqlens)
        y = torch.empty_like(v, memory_format=torch.contiguous_format)
        return self._step(wkv7_step, [r, w, k, v, a, b], y, state)

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `Kernels.linear`; a token's outputs are the same bits whatever other tokens there are."""
        tokens, width = x.reshape(-1, x.shape[-1]).contiguous(), weight.shape[0]
        if weight.dtype not in FLOATS or weight.shape[1] != x.shape[-1]:
            raise KernelError(f"a linear map of {x.shape[-1]} channels by {weight.dtype} {tuple(weight.shape)}")
        out = weight.new_empty((*x.shape[:-1], width))
        rows, columns = FEW if tokens.shape[0] <= FEW[0] else MANY
        grid = (triton.cdiv(width, columns), triton.cdiv(tokens.shape[0], rows))
        if out.numel():
            numbers = (*tokens.shape, width, *weight.stride())
            launch(linear_rows, grid, tokens, weight, out, *numbers, rows, columns, DEPTH, warps=linear_warps(rows))
        return out

    def bonus(self, r: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> Tensor:
        """See `Kernels.bonus`."""
        heads, size = weight.shape
        y = torch.empty_like(v, memory_format=torch.contiguous_format)
        if y.numel():
            tensors = (r.contiguous(), k.contiguous(), v.contiguous(), weight.contiguous(), y)
            launch(head_bonus, (y.numel() // size // heads, heads), *tensors, heads, size, tile_of(size), warps=1)
        return y

    def take(self, pool: Tensor) -> Tensor:
        """See `PlainSlots.take`."""
        layers, _, width = pool.shape
        rows = pool.new_empty((layers, self.slots.numel(), width))
        self._move(take_rows, pool, rows)
        return rows

    def put(self, pool: Tensor, rows: Tensor) -> None:
        """See `PlainSlots.put`."""
        self._move(put_rows, pool, rows.contiguous())

    def draw(self, logits: Tensor, settings: Tensor, uniforms: Tensor, forbidden: Tensor | None = None) -> Tensor:
        """See `PlainSlots.draw`; the same to the rounding of float32."""
        return draw_rows(logits, settings, uniforms, forbidden)

    def _step(self, kernel: Any, inputs: list[Tensor], y: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        rows, _, heads, size = y.shape
        if size not in SIZES:
            raise KernelError(f"the kernels 'triton' take heads of {SIZES} channels, not {size}")
        grid = (rows, heads, size // VALUES)
        if y.numel():
            tensors = (*(x.contiguous() for x in inputs), state, self.slots, y)
            launch(kernel, grid, *tensors, heads, size, VALUES, warps=warps_of(size))
        return y, state.new_empty(0)

    def _move(self, kernel: Any, pool: Tensor, rows: Tensor) -> None:
        if not pool.is_contiguous():
            raise KernelError("a pool of states must be contiguous")
        layers, slots, width = pool.shape
        grid = (rows.shape[1], layers, triton.cdiv(width, CHANNELS))
        if rows.numel():
            launch(kernel, grid, pool, rows, self.slots, slots, rows.shape[1], width, CHANNELS, warps=2)


def warps_of(size: int) -> int:
    """Warps for a tile of VALUES rows of a state."""
    return 2 if size > 64 else 1


def linear_warps(rows: int) -> int:
    """Warps for a tile of a linear map: FEW have no work for four."""
    return 2 if rows == FEW[0] else 4


@triton.jit
def wkv7_step(
    r, w, k, v, a, b, pool, slots, y, heads, N: tl.constexpr, VALUES: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i, j = tl.program_id(2) * VALUES + tl.arange(0, VALUES), tl.arange(0, N)
    slot = tl.load(slots + row).to(tl.int64)
    at = (row * heads + head) * N
    result = tl.zeros((VALUES,), tl.float32)
    if slot >= 0:
        place = pool + (slot * heads + head) * N * N + i[:, None] * N + j[None, :]
        s = tl.load(place)
        decay = tl.exp(tl.load(w + at + j).to(tl.float32))
        moved = tl.sum(s * tl.load(a + at + j).to(tl.float32)[None, :], axis=1)
        s = s * decay[None, :] + moved[:, None] * tl.load(b + at + j).to(tl.float32)[None, :]
        s += tl.load(v + at + i).to(tl.float32)[:, None] * tl.load(k + at + j).to(tl.float32)[None, :]
        tl.store(place, s)
        result = tl.sum(s * tl.load(r + at + j).to(tl.float32)[None, :], axis=1)
    tl.store(y + at + i, result.to(y.dtype.element_ty))


@triton.jit
def wkv6_step(
    r, k, v, w, u, pool, slots, y, heads, N: tl.constexpr, VALUES: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i, j = tl.program_id(2) * VALUES + tl.arange(0, VALUES), tl.arange(0, N)
    slot = tl.load(slots + row).to(tl.int64)
    at = (row * heads + head) * N
    result = tl.zeros((VALUES,), tl.float32)
    if slot >= 0:
        place = pool + (slot * heads + head) * N * N + i[:, None] * N + j[None, :]
        s = tl.load(place)
        key = tl.load(k + at + j).to(tl.float32)
        value = tl.load(v + at + i).to(tl.float32)
        bonus = tl.load(u + head * N + j).to(tl.float32)
        seen = s + value[:, None] * (bonus * key)[None, :]
        result = tl.sum(seen * tl.load(r + at + j).to(tl.float32)[None, :], axis=1)
        decay = tl.exp(tl.load(w + at + j).to(tl.float32))
        tl.store(place, s * decay[None, :] + value[:, None] * key[None, :])
    tl.store(y + at + i, result.to(y.dtype.element_ty))


@triton.jit
def wkv4_step(k, v, w, u, pool, slots, y, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < width
    slot = tl.load(slots + row).to(tl.int64)
    at = row * width + channel
    result = tl.zeros((BLOCK,), tl.float32)
    if slot >= 0:
        place = pool + slot * 3 * width + channel
        above, below = tl.load(place, mask=inside), tl.load(place + width, mask=inside)
        top = tl.load(place + 2 * width, mask=inside)
        key = tl.load(k + at, mask=inside).to(tl.float32)
        value = tl.load(v + at, mask=inside).to(tl.float32)
        favoured = key + tl.load(u + channel, mask=inside).to(tl.float32)
        q = tl.maximum(top, favoured)
        old, new = tl.exp(top - q), tl.exp(favoured - q)
        result = (old * above + new * value) / (old * below + new)
        faded = top + tl.load(w + channel, mask=inside).to(tl.float32)
        q = tl.maximum(faded, key)
        old, new = tl.exp(faded - q), tl.exp(key - q)
        tl.store(place, old * above + new * value, mask=inside)
        tl.store(place + width, old * below + new, mask=inside)
        tl.store(place + 2 * width, q, mask=inside)
    tl.store(y + at, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def linear_rows(
    x, weight, out, rows, depth, width, w_row, w_column,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """x: (rows, depth), weight: (width, depth) of strides w_row and w_column, out: (rows, width)."""
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, depth, DEPTH):
        i = start + tl.arange(0, DEPTH)
        here = tl.load(
            x + row[:, None] * depth + i[None, :], mask=(row < rows)[:, None] & (i < depth)[None, :], other=0
        )
        place = weight + column[None, :] * w_row + i[:, None] * w_column
        there = tl.load(place, mask=(column < width)[None, :] & (i < depth)[:, None], other=0)
        total = tl.dot(here.to(there.dtype), there, total, input_precision="ieee")
    place = out + row[:, None] * width + column[None, :]
    tl.store(place, total.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (column < width)[None, :])


@triton.jit
def head_bonus(r, k, v, weight, y, heads, size, N: tl.constexpr):
    head, n = tl.program_id(1), tl.arange(0, N)
    at = (tl.program_id(0).to(tl.int64) * heads + head) * size + n
    product = tl.load(r + at, mask=n < size, other=0).to(tl.float32) * tl.load(k + at, mask=n < size, other=0)
    product *= tl.load(weight + head * size + n, mask=n < size, other=0).to(tl.float32)
    result = tl.sum(product, axis=0) * tl.load(v + at, mask=n < size, other=0)
    tl.store(y + at, result.to(y.dtype.element_ty), mask=n < size)


@triton.jit
def take_rows(pool, rows, slots, count, many, width, BLOCK: tl.constexpr):
    """pool: (L, P, C) to rows: (L, R, C); count is P, many is R."""
    row, layer = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    channel = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.load(slots + row).to(tl.int64)
    found = tl.load(pool + (layer * count + slot) * width + channel, mask=(channel < width) & (slot >= 0), other=0.0)
    tl.store(rows + (layer * many + row) * width + channel, found, mask=channel < width)


@triton.jit
def put_rows(pool, rows, slots, count, many, width, BLOCK: tl.constexpr):
    """The way back of `take_rows`."""
    row, layer = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    channel = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.load(slots + row).to(tl.int64)
    found = tl.load(rows + (layer * many + row) * width + channel, mask=channel < width, other=0.0)
    place = pool + (layer * count + slot) * width + channel
    tl.store(place, found.to(pool.dtype.element_ty), mask=(channel < width) & (slot >= 0))


def compile_cases() -> Iterator[tuple[Any, dict[str, Any], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    where = {"pool": "*fp32", "slots": "*i64", "y": "*fp32"}
    for size in (64, 128):
        tile = {"N": size, "VALUES": VALUES}
        inputs = dict.fromkeys(("r", "w", "k", "v", "a", "b"), "*fp32")
        yield wkv7_step, {**inputs, **where, "heads": "i32"}, tile, warps_of(size), f"wkv7 step {size}"
        inputs = dict.fromkeys(("r", "k", "v", "w", "u"), "*fp32")
        yield wkv6_step, {**inputs, **where, "heads": "i32"}, tile, warps_of(size), f"wkv6 step {size}"
    inputs = dict.fromkeys(("k", "v", "w", "u"), "*fp32")
    yield wkv4_step, {**inputs, **where, "width": "i32"}, {"BLOCK": CHANNELS}, 2, "wkv4 step"
    numbers = dict.fromkeys(("rows", "depth", "width", "w_row", "w_column"), "i32")
    for kind in ("bf16", "fp32"):
        for rows, columns in (FEW, MANY):
            pointers = {"x": "*fp32", "weight": f"*{kind}", "out": f"*{kind}"}
            tile = {"ROWS": rows, "COLUMNS": columns, "DEPTH": DEPTH}
            yield linear_rows, {**pointers, **numbers}, tile, linear_warps(rows), f"linear {kind} {rows}x{columns}"
    inputs = dict.fromkeys(("r", "k", "v", "weight", "y"), "*fp32")
    yield head_bonus, {**inputs, "heads": "i32", "size": "i32"}, {"N": 64}, 1, "bonus 64"
    moved = {"pool": "*fp32", "rows": "*fp32", "slots": "*i64", **dict.fromkeys(("count", "many", "width"), "i32")}
    for kernel, label in ((take_rows, "take rows"), (put_rows, "put rows")):
        yield kernel, moved, {"BLOCK": CHANNELS}, 2, label
