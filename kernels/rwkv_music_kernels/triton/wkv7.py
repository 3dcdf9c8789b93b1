"""RWKV-7's recurrence in Triton, forward and backward.

A program is one sequence, one head and ROWS rows of its state, a row a value, a column a key. Rows know nothing of each
other, so what the backward pass sums over rows is left in parts, one for each block of rows, and summed behind.
"""

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rwkv_music_kernels.packed import Sequences
from rwkv_music_kernels.triton.sequences import CHUNK, launch


@triton.jit
def forward_kernel(
    r, w, k, v, a, b, state, y, new_state, kept, ends, kept_from, heads, keep: tl.constexpr, N: tl.constexpr,
    ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """y and the new state; with `keep` also the state before every CHUNK tokens."""
    row_block = tl.program_id(1).to(tl.int64)
    sequence = tl.program_id(0).to(tl.int64) // heads
    head = tl.program_id(0).to(tl.int64) % heads
    rows, columns = row_block * ROWS + tl.arange(0, ROWS), tl.arange(0, N)
    square = rows[:, None] * N + columns[None, :]  # (ROWS, N)
    s = tl.load(state + (sequence * heads + head) * N * N + square)
    start, end = tl.load(ends + sequence), tl.load(ends + sequence + 1)
    chunk = tl.load(kept_from + sequence)
    for t in range(start, end):
        if keep:  # noqa: SIM102 (known when compiled, the other is not)
            if (t - start) % CHUNK == 0:
                tl.store(kept + (chunk * heads + head) * N * N + square, s)
                chunk += 1
        at = (t * heads + head) * N
        r_t, w_t = tl.load(r + at + columns).to(tl.float32), tl.load(w + at + columns).to(tl.float32)
        k_t, v_t = tl.load(k + at + columns).to(tl.float32), tl.load(v + at + rows).to(tl.float32)
        a_t, b_t = tl.load(a + at + columns).to(tl.float32), tl.load(b + at + columns).to(tl.float32)
        moved = tl.sum(s * a_t[None, :], axis=1)
        s = s * tl.exp(w_t)[None, :] + moved[:, None] * b_t[None, :] + v_t[:, None] * k_t[None, :]
        tl.store(y + at + rows, tl.sum(s * r_t[None, :], axis=1).to(y.dtype.element_ty))
    tl.store(new_state + (sequence * heads + head) * N * N + square, s)


@triton.jit
def backward_kernel(
    r, w, k, v, a, b, kept, scratch, dy, dnew, parts, dv, dstate, ends, kept_from, heads, tokens, N: tl.constexpr,
    ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The gradients, from the last chunk to the first: its states are made again in `scratch`, then walked back.

    parts: (N / ROWS, 5, T, H, N), the rows' parts of the gradients in r, w, k, a and b.
    """
    row_block = tl.program_id(1).to(tl.int64)
    sequence = tl.program_id(0).to(tl.int64) // heads
    head = tl.program_id(0).to(tl.int64) % heads
    rows, columns = row_block * ROWS + tl.arange(0, ROWS), tl.arange(0, N)
    square = rows[:, None] * N + columns[None, :]
    lane = tl.arange(0, ROWS)[:, None] * N + columns[None, :]
    own = scratch + (tl.program_id(0).to(tl.int64) * (N // ROWS) + row_block) * (CHUNK + 1) * ROWS * N
    g = tl.load(dnew + (sequence * heads + head) * N * N + square)
    start, end = tl.load(ends + sequence), tl.load(ends + sequence + 1)
    first = tl.load(kept_from + sequence)
    stride = tokens * heads * N
    for back in range((end - start + CHUNK - 1) // CHUNK):
        chunk = (end - start + CHUNK - 1) // CHUNK - 1 - back
        begin = start + chunk * CHUNK
        count = tl.minimum(end - begin, CHUNK)
        s = tl.load(kept + ((first + chunk) * heads + head) * N * N + square)
        tl.store(own + lane, s)
        for i in range(count):
            at = ((begin + i) * heads + head) * N
            w_t, k_t = tl.load(w + at + columns).to(tl.float32), tl.load(k + at + columns).to(tl.float32)
            a_t, b_t = tl.load(a + at + columns).to(tl.float32), tl.load(b + at + columns).to(tl.float32)
            v_t = tl.load(v + at + rows).to(tl.float32)
            moved = tl.sum(s * a_t[None, :], axis=1)
            s = s * tl.exp(w_t)[None, :] + moved[:, None] * b_t[None, :] + v_t[:, None] * k_t[None, :]
            tl.store(own + (i + 1) * ROWS * N + lane, s)
        tl.debug_barrier()
        for j in range(count):
            i = count - 1 - j
            at = ((begin + i) * heads + head) * N
            r_t, w_t = tl.load(r + at + columns).to(tl.float32), tl.load(w + at + columns).to(tl.float32)
            k_t, v_t = tl.load(k + at + columns).to(tl.float32), tl.load(v + at + rows).to(tl.float32)
            a_t, b_t = tl.load(a + at + columns).to(tl.float32), tl.load(b + at + columns).to(tl.float32)
            dy_t = tl.load(dy + at + rows).to(tl.float32)
            old, new = tl.load(own + i * ROWS * N + lane), tl.load(own + (i + 1) * ROWS * N + lane)
            decay = tl.exp(w_t)
            g += dy_t[:, None] * r_t[None, :]
            moved = tl.sum(old * a_t[None, :], axis=1)
            dmoved = tl.sum(g * b_t[None, :], axis=1)
            part = parts + row_block * 5 * stride + at + columns
            tl.store(part, tl.sum(new * dy_t[:, None], axis=0))
            tl.store(part + stride, tl.sum(g * old, axis=0) * decay)
            tl.store(part + 2 * stride, tl.sum(g * v_t[:, None], axis=0))
            tl.store(part + 3 * stride, tl.sum(old * dmoved[:, None], axis=0))
            tl.store(part + 4 * stride, tl.sum(g * moved[:, None], axis=0))
            tl.store(dv + at + rows, tl.sum(g * k_t[None, :], axis=1))
            g = g * decay[None, :] + dmoved[:, None] * a_t[None, :]
        tl.debug_barrier()
    tl.store(dstate + (sequence * heads + head) * N * N + square, g)


def rows_of(size: int) -> int:
    """Rows of the state in one program: few enough to stay in registers."""
    return 32 if size <= 64 else 16


def backward_rows(size: int) -> int:
    """The same for the backward pass, which holds three states at once."""
    return min(16, size)


@torch.library.custom_op("rwkv_music::wkv7", mutates_args=())
def wkv7(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, ends: Tensor, kept_from: Tensor,
    room: int, keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """y, the new state, and what is kept for the backward pass. All six inputs contiguous, (…, H, N)."""
    heads, size = r.shape[-2:]
    y, new_state = torch.empty_like(v), torch.empty_like(state)
    kept = state.new_empty((room if keep else 0, heads, size, size))
    rows = rows_of(size)
    grid = (state.shape[0] * heads, size // rows)
    launch(
        forward_kernel,
        grid,
        r,
        w,
        k,
        v,
        a,
        b,
        state,
        y,
        new_state,
        kept,
        ends,
        kept_from,
        heads,
        keep,
        size,
        rows,
        CHUNK,
        warps=4,
    )
    return y, new_state, kept


@wkv7.register_fake
def _(r, w, k, v, a, b, state, ends, kept_from, room, keep):
    heads, size = r.shape[-2:]
    return torch.empty_like(v), torch.empty_like(state), state.new_empty((room if keep else 0, heads, size, size))


@torch.library.custom_op("rwkv_music::wkv7_backward", mutates_args=())
def wkv7_backward(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, kept: Tensor, ends: Tensor, kept_from: Tensor,
    dy: Tensor, dnew: Tensor,
) -> list[Tensor]:  # fmt: skip
    """The gradients in r, w, k, v, a, b and the state, float32."""
    heads, size = r.shape[-2:]
    tokens, rows = r.numel() // (heads * size), backward_rows(r.shape[-1])
    parts = dnew.new_empty((size // rows, 5, tokens, heads, size))
    dv, dstate = torch.empty_like(v, dtype=torch.float32), torch.empty_like(dnew)
    grid = (dnew.shape[0] * heads, size // rows)
    scratch = dnew.new_empty((grid[0] * grid[1], CHUNK + 1, rows, size))
    launch(backward_kernel, grid, r, w, k, v, a, b, kept, scratch, dy, dnew, parts, dv, dstate, ends, kept_from, heads, tokens, size, rows,
        CHUNK, warps=4)  # fmt: skip
    dr, dw, dk, da, db = parts.sum(0).view(5, *r.shape).unbind(0)
    return [dr.clone(), dw.clone(), dk.clone(), dv, da.clone(), db.clone(), dstate]


@wkv7_backward.register_fake
def _(r, w, k, v, a, b, kept, ends, kept_from, dy, dnew):
    return [torch.empty_like(x, dtype=torch.float32) for x in (r, w, k, v, a, b)] + [torch.empty_like(dnew)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:6], output[2], inputs[7], inputs[8])
    ctx.set_materialize_grads(True)


def _backward(ctx: Any, dy: Tensor, dnew: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, kept, ends, kept_from = ctx.saved_tensors
    found = wkv7_backward(*inputs, kept, ends, kept_from, dy.contiguous(), dnew.contiguous())
    return (*(g.to(x.dtype) for g, x in zip(found, inputs, strict=False)), found[6], None, None, None, None)


wkv7.register_autograd(_backward, setup_context=_save)


def run(tensors: list[Tensor], state: Tensor, where: Sequences, keep: bool) -> tuple[Tensor, Tensor]:
    """y and the new state of checked tensors (B, T, H, N)."""
    y, new_state, _ = wkv7(
        *(x.contiguous() for x in tensors), state.contiguous(), where.ends, where.kept, where.room, keep
    )
    return y, new_state


def compile_cases() -> Iterator[tuple[Any, dict[str, str], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    for kind, size in (("bf16", 64), ("fp32", 64), ("bf16", 128)):
        constants = {"N": size, "ROWS": rows_of(size), "CHUNK": CHUNK}
        inputs = dict.fromkeys(("r", "w", "k", "v", "a", "b"), f"*{kind}")
        floats, places = ("state", "new_state", "kept"), {"ends": "*i64", "kept_from": "*i64", "heads": "i32"}
        forward = {**inputs, "y": f"*{kind}", **dict.fromkeys(floats, "*fp32"), **places}
        yield forward_kernel, forward, {**constants, "keep": True}, 4, f"wkv7 forward {kind} {size}"
        floats = ("kept", "scratch", "dnew", "parts", "dv", "dstate")
        constants["ROWS"] = backward_rows(size)
        backward = {**inputs, "dy": f"*{kind}", **dict.fromkeys(floats, "*fp32"), **places, "tokens": "i32"}
        yield backward_kernel, backward, constants, 4, f"wkv7 backward {kind} {size}"
