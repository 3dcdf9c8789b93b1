"""RWKV-7's recurrence in Triton as matrix products, a chunk of tokens at a time, forward and backward.

With c the log decay from the chunk's beginning up to and with a token, and a_ = a e^(c - w), r_ = r e^c, b_ = b e^-c,
k_ = k e^-c, the rows U of what each token reads out of the state to move, U_t = S_(t-1) a_t, solve

    (I - M_ab) U = a_ S^T + M_ak V,  M_ab, M_ak the strictly lower parts of a_ b_^T and a_ k_^T,

so that with X = (I - M_ab)^-1, h = X^T b_ e^last a chunk is one affine map of the state (the WY form of 2503.14456):

    S <- S diag(e^last) + S a_^T h + V^T (k_ e^last + M_ak^T h)
    y = (r_ + M_rb X a_) S^T + (M_rk + M_rb X M_ak) V,  M_rb, M_rk the lower parts of r_ b_^T and r_ k_^T.

The bound of the decay keeps e^-c below 3e8. The chunks are counted all at once but for the walk that hands the state
on; nothing is kept for the backward pass, which makes it all again. X is found row by row: products of powers of M_ab
lose every digit where a key comes again and again.
"""

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rwkv_music_kernels.triton.chunks import (
    LENGTH,
    Chunks,
    chunk_cases,
    dot,
    load,
    number,
    precision_of,
    scan,
    start,
    tokens,
)

# A part of several kernels; triton.jit's own type forbids to unpack what one returns.
_part: Any = triton.jit


@triton.jit
def within_kernel(
    r, w, k, a, b, m, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """X, M_ak, M_rb and M_rk. m: (chunks, H, 4, LENGTH, LENGTH)."""
    i = tl.arange(0, LENGTH)
    earlier, so_far = i[:, None] > i[None, :], i[:, None] >= i[None, :]
    m_ab, m_ak = tl.zeros((LENGTH, LENGTH), tl.float32), tl.zeros((LENGTH, LENGTH), tl.float32)
    m_rb, m_rk = tl.zeros((LENGTH, LENGTH), tl.float32), tl.zeros((LENGTH, LENGTH), tl.float32)
    for part in range(N // BLOCK):
        at, inside, _, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        w_c = load(w, at, inside)
        total = tl.cumsum(w_c, axis=0)
        a_, r_ = load(a, at, inside) * tl.exp(total - w_c), load(r, at, inside) * tl.exp(total)
        b_ = tl.trans(load(b, at, inside) * tl.exp(-total))
        m_ab, m_rb = m_ab + dot(a_, b_, PRECISION), m_rb + dot(r_, b_, PRECISION)
        k_ = tl.trans(load(k, at, inside) * tl.exp(-total))
        m_ak, m_rk = m_ak + dot(a_, k_, PRECISION), m_rk + dot(r_, k_, PRECISION)
    place = number(heads)
    tl.store(m + _matrix(place, 1, LENGTH), tl.where(earlier, m_ak, 0.0))
    tl.store(m + _matrix(place, 2, LENGTH), tl.where(so_far, m_rb, 0.0))
    tl.store(m + _matrix(place, 3, LENGTH), tl.where(so_far, m_rk, 0.0))
    tl.store(m + _matrix(place, 0, LENGTH), _inverse(tl.where(earlier, m_ab, 0.0), LENGTH))


@triton.jit
def map_kernel(
    w, k, v, a, b, m, moved, written, decay, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK columns of the chunk's map of the state, as scan_kernel takes it."""
    at, inside, _, place = tokens(begins, stops, heads, 0, N, LENGTH, N)
    some, there, keys, _ = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    square = place * N * N + tl.arange(0, N)[:, None] * N + keys[None, :]
    w_c = load(w, some, there)
    last = tl.sum(w_c, axis=0)
    tl.store(decay + place * N + keys, tl.exp(last))
    to_end = tl.exp(last[None, :] - tl.cumsum(w_c, axis=0))
    h = dot(tl.trans(tl.load(m + _matrix(place, 0, LENGTH))), load(b, some, there) * to_end, PRECISION)
    w_c = load(w, at, inside)
    a_ = load(a, at, inside) * tl.exp(tl.cumsum(w_c, axis=0) - w_c)
    tl.store(moved + square, dot(tl.trans(a_), h, PRECISION))
    writes = dot(tl.trans(tl.load(m + _matrix(place, 1, LENGTH))), h, PRECISION) + load(k, some, there) * to_end
    tl.store(written + square, dot(tl.trans(load(v, at, inside)), writes, PRECISION))


@triton.jit
def output_kernel(
    r, w, v, a, m, starts, y, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK values of y from the states before each chunk."""
    at, inside, _, place = tokens(begins, stops, heads, 0, N, LENGTH, N)
    some, there, values, _ = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    m_rx, seen = _seen(r, w, a, m, at, inside, place, LENGTH, PRECISION)
    s = tl.load(starts + place * N * N + tl.arange(0, N)[:, None] + values[None, :] * N)
    y_c = dot(seen, s, PRECISION)
    m_rk = dot(m_rx, tl.load(m + _matrix(place, 1, LENGTH)), PRECISION) + tl.load(m + _matrix(place, 3, LENGTH))
    y_c += dot(m_rk, load(v, some, there), PRECISION)
    tl.store(y + some, y_c.to(y.dtype.element_ty), mask=there)


@triton.jit
def back_written_kernel(
    r, w, a, m, dy, written, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK columns of what y's gradient writes into the state's, dy^T (r_ + M_rb X a_), (chunks, H, N, N)."""
    at, inside, _, place = tokens(begins, stops, heads, 0, N, LENGTH, N)
    some, there, keys, _ = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    _, seen = _seen(r, w, a, m, some, there, place, LENGTH, PRECISION)
    found = dot(tl.trans(load(dy, at, inside)), seen, PRECISION)
    tl.store(written + place * N * N + tl.arange(0, N)[:, None] * N + keys[None, :], found)


@triton.jit
def back_values_kernel(
    w, k, v, a, b, m, starts, grads, dy, u, dz, dv, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """U, the gradient dz in a_ S^T + M_ak V, and the one in v, for BLOCK values.

    grads: (chunks, H, N, N), the gradients in the states after each chunk; u, dz: (T, H, N).
    """
    some, there, values, place = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    z, du = tl.zeros((LENGTH, BLOCK), tl.float32), tl.zeros((LENGTH, BLOCK), tl.float32)
    dv_c = tl.zeros((LENGTH, BLOCK), tl.float32)
    for part in range(N // BLOCK):
        at, inside, keys, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        turned = place * N * N + keys[:, None] + values[None, :] * N
        w_c = load(w, at, inside)
        total = tl.cumsum(w_c, axis=0)
        z += dot(load(a, at, inside) * tl.exp(total - w_c), tl.load(starts + turned), PRECISION)
        to_end, g = tl.exp(tl.sum(w_c, axis=0)[None, :] - total), tl.load(grads + turned)
        du += dot(load(b, at, inside) * to_end, g, PRECISION)
        dv_c += dot(load(k, at, inside) * to_end, g, PRECISION)
    x, m_ak = tl.load(m + _matrix(place, 0, LENGTH)), tl.load(m + _matrix(place, 1, LENGTH))
    z += dot(m_ak, load(v, some, there), PRECISION)
    tl.store(u + some, dot(x, z, PRECISION), mask=there)
    dy_c = load(dy, some, there)
    du += dot(tl.trans(tl.load(m + _matrix(place, 2, LENGTH))), dy_c, PRECISION)
    dz_c = dot(tl.trans(x), du, PRECISION)
    tl.store(dz + some, dz_c, mask=there)
    dv_c += dot(tl.trans(m_ak), dz_c, PRECISION)
    dv_c += dot(tl.trans(tl.load(m + _matrix(place, 3, LENGTH))), dy_c, PRECISION)
    tl.store(dv + some, dv_c.to(dv.dtype.element_ty), mask=there)


@triton.jit
def back_within_kernel(
    v, dy, u, dz, dm, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients in M_ab, M_ak, M_rb and M_rk. dm: (chunks, H, 4, LENGTH, LENGTH)."""
    i = tl.arange(0, LENGTH)
    earlier, so_far = i[:, None] > i[None, :], i[:, None] >= i[None, :]
    dm_ab, dm_ak = tl.zeros((LENGTH, LENGTH), tl.float32), tl.zeros((LENGTH, LENGTH), tl.float32)
    dm_rb, dm_rk = tl.zeros((LENGTH, LENGTH), tl.float32), tl.zeros((LENGTH, LENGTH), tl.float32)
    for part in range(N // BLOCK):
        at, inside, _, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        dz_c, dy_c = load(dz, at, inside), load(dy, at, inside)
        u_c, v_c = tl.trans(load(u, at, inside)), tl.trans(load(v, at, inside))
        dm_ab, dm_rb = dm_ab + dot(dz_c, u_c, PRECISION), dm_rb + dot(dy_c, u_c, PRECISION)
        dm_ak, dm_rk = dm_ak + dot(dz_c, v_c, PRECISION), dm_rk + dot(dy_c, v_c, PRECISION)
    place = number(heads)
    tl.store(dm + _matrix(place, 0, LENGTH), tl.where(earlier, dm_ab, 0.0))
    tl.store(dm + _matrix(place, 1, LENGTH), tl.where(earlier, dm_ak, 0.0))
    tl.store(dm + _matrix(place, 2, LENGTH), tl.where(so_far, dm_rb, 0.0))
    tl.store(dm + _matrix(place, 3, LENGTH), tl.where(so_far, dm_rk, 0.0))


@triton.jit
def back_readers_kernel(
    r, w, k, a, b, dm, starts, grads, dy, dz, dr, da, dw, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients in r and a, which read the state, for BLOCK keys, and w's as far as it fades what they read."""
    some, there, keys, place = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    da_c, dr_c = tl.zeros((LENGTH, BLOCK), tl.float32), tl.zeros((LENGTH, BLOCK), tl.float32)
    to_next = tl.zeros((BLOCK,), tl.float32)
    for part in range(N // BLOCK):
        at, inside, values, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        square = place * N * N + values[:, None] * N + keys[None, :]
        s = tl.load(starts + square)
        to_next += tl.sum(s * tl.load(grads + square), axis=0)
        da_c += dot(load(dz, at, inside), s, PRECISION)
        dr_c += dot(load(dy, at, inside), s, PRECISION)
    w_c = load(w, some, there)
    total = tl.cumsum(w_c, axis=0)
    b_, k_ = load(b, some, there) * tl.exp(-total), load(k, some, there) * tl.exp(-total)
    da_c += dot(tl.load(dm + _matrix(place, 0, LENGTH)), b_, PRECISION)
    da_c += dot(tl.load(dm + _matrix(place, 1, LENGTH)), k_, PRECISION)
    da_c *= tl.exp(total - w_c)
    tl.store(da + some, da_c.to(da.dtype.element_ty), mask=there)
    da_c *= load(a, some, there)
    dr_c += dot(tl.load(dm + _matrix(place, 2, LENGTH)), b_, PRECISION)
    dr_c += dot(tl.load(dm + _matrix(place, 3, LENGTH)), k_, PRECISION)
    dr_c *= tl.exp(total)
    tl.store(dr + some, dr_c.to(dr.dtype.element_ty), mask=there)
    dr_c = dr_c * load(r, some, there) + da_c
    to_next *= tl.exp(tl.sum(w_c, axis=0))
    tl.store(dw + some, tl.cumsum(dr_c, axis=0, reverse=True) - da_c + to_next[None, :], mask=there)


@triton.jit
def back_writer_kernel(
    r, w, writer, row, a, dm, grads, dw, dwriter, dw_more, begins, stops, heads, WHICH: tl.constexpr, N: tl.constexpr,
    LENGTH: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient in b or k, which write rows of U or of V, for BLOCK keys, and dw with w's fading what they write.

    WHICH: 0 for b, 1 for k.
    """
    at, inside, _, place = tokens(begins, stops, heads, 0, N, LENGTH, N)
    some, there, keys, _ = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    w_c = load(w, some, there)
    total = tl.cumsum(w_c, axis=0)
    from_a = load(a, some, there) * tl.exp(total - w_c)
    found = dot(tl.trans(tl.load(dm + _matrix(place, WHICH, LENGTH))), from_a, PRECISION)
    from_r = load(r, some, there) * tl.exp(total)
    found += dot(tl.trans(tl.load(dm + _matrix(place, WHICH + 2, LENGTH))), from_r, PRECISION)
    found *= tl.exp(-total)
    written = load(writer, some, there)
    read_here = tl.sum(found * written, axis=0)
    g = tl.load(grads + place * N * N + tl.arange(0, N)[:, None] * N + keys[None, :])
    found += dot(load(row, at, inside), g, PRECISION) * tl.exp(tl.sum(w_c, axis=0)[None, :] - total)
    tl.store(dwriter + some, found.to(dwriter.dtype.element_ty), mask=there)
    found *= written
    fading = tl.cumsum(found, axis=0) - found - read_here[None, :]
    tl.store(dw_more + some, (load(dw, some, there) + fading).to(dw_more.dtype.element_ty), mask=there)


@_part
def _seen(r, w, a, m, at, inside, place, LENGTH: tl.constexpr, PRECISION: tl.constexpr):
    """M_rb X, and by what y reads the state before the chunk, r_ + M_rb X a_."""
    w_c = load(w, at, inside)
    total = tl.cumsum(w_c, axis=0)
    m_rx = dot(tl.load(m + _matrix(place, 2, LENGTH)), tl.load(m + _matrix(place, 0, LENGTH)), PRECISION)
    reads = dot(m_rx, load(a, at, inside) * tl.exp(total - w_c), PRECISION)
    return m_rx, reads + load(r, at, inside) * tl.exp(total)


@_part
def _matrix(place, which, LENGTH: tl.constexpr):
    """Where one of the four matrices of a chunk and head lies."""
    i = tl.arange(0, LENGTH)
    return (place * 4 + which) * LENGTH * LENGTH + i[:, None] * LENGTH + i[None, :]


@_part
def _inverse(m, LENGTH: tl.constexpr):
    """(I - m)^-1 of a strictly lower m, row by row: row t of it less I is m_t + m_t (the rows before)."""
    i = tl.arange(0, LENGTH)
    x, turned = m, tl.trans(m)
    for t in range(1, LENGTH):
        by_column = tl.sum(tl.where(i[None, :] == t, turned, 0.0), axis=1)
        row = tl.sum(by_column[:, None] * x, axis=0)
        x += tl.where(i[:, None] == t, row[None, :], 0.0)
    return x + tl.where(i[:, None] == i[None, :], 1.0, 0.0)


@torch.library.custom_op("rwkv_music::wkv7_chunk", mutates_args=())
def wkv7_chunk(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, first: Tensor, begins: Tensor,
    stops: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y and the new state. All six inputs contiguous, (…, H, N); first, begins, stops as in Chunks."""
    y, where, precision = torch.empty_like(v), Chunks(first, begins, stops), precision_of(v)
    m, starts, new_state, _, _ = _states(r, w, k, v, a, b, state, where)
    start(output_kernel, where, precision, r, w, v, a, m, starts, y)
    return y, new_state


@wkv7_chunk.register_fake
def _(r, w, k, v, a, b, state, first, begins, stops):
    return torch.empty_like(v), torch.empty_like(state)


@torch.library.custom_op("rwkv_music::wkv7_chunk_backward", mutates_args=())
def wkv7_chunk_backward(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, first: Tensor, begins: Tensor,
    stops: Tensor, dy: Tensor, dnew: Tensor,
) -> list[Tensor]:  # fmt: skip
    """The gradients in r, w, k, v, a, b and the state, each in the dtype of its own."""
    where, precision = Chunks(first, begins, stops), precision_of(v)
    dr, dw, dk, dv, da, db = (torch.empty_like(x) for x in (r, w, k, v, a, b))
    u, dz, dw_read, dw_moved = (torch.empty_like(v, dtype=torch.float32) for _ in range(4))
    m, starts, _, moved, decay = _states(r, w, k, v, a, b, state, where)
    dm, written = torch.empty_like(m), torch.empty_like(starts)
    start(back_written_kernel, where, precision, r, w, a, m, dy, written)
    grads, dstate = scan(dnew, decay, moved, written, first, precision, reverse=True)
    start(back_values_kernel, where, precision, w, k, v, a, b, m, starts, grads, dy, u, dz, dv)
    start(back_within_kernel, where, precision, v, dy, u, dz, dm, blocks=False)
    start(back_readers_kernel, where, precision, r, w, k, a, b, dm, starts, grads, dy, dz, dr, da, dw_read)
    start(back_writer_kernel, where, precision, r, w, b, u, a, dm, grads, dw_read, db, dw_moved, which=(0,))
    start(back_writer_kernel, where, precision, r, w, k, v, a, dm, grads, dw_moved, dk, dw, which=(1,))
    return [dr, dw, dk, dv, da, db, dstate]


@wkv7_chunk_backward.register_fake
def _(r, w, k, v, a, b, state, first, begins, stops, dy, dnew):
    return [torch.empty_like(x) for x in (r, w, k, v, a, b, state)]


def _states(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, where: Chunks
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Each chunk's four matrices, the states before each, the new state, and what each chunk moves and its decay."""
    count, (heads, size) = where.begins.numel(), w.shape[-2:]
    precision = precision_of(v)
    m = state.new_empty((count, heads, 4, LENGTH, LENGTH))
    moved, written = (state.new_empty((count, heads, size, size)) for _ in range(2))
    decay = state.new_empty((count, heads, size))
    start(within_kernel, where, precision, r, w, k, a, b, m, blocks=False)
    start(map_kernel, where, precision, w, k, v, a, b, m, moved, written, decay)
    starts, new_state = scan(state, decay, moved, written, where.first, precision, reverse=False)
    return m, starts, new_state, moved, decay


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs)
    ctx.set_materialize_grads(True)


def _backward(ctx: Any, dy: Tensor, dnew: Tensor) -> tuple[Tensor | None, ...]:
    found = wkv7_chunk_backward(*ctx.saved_tensors, dy.contiguous(), dnew.contiguous())
    return (*found, None, None, None)


wkv7_chunk.register_autograd(_backward, setup_context=_save)


def run(tensors: list[Tensor], state: Tensor, where: Chunks) -> tuple[Tensor, Tensor]:
    """y and the new state of checked tensors (B, T, H, N)."""
    return wkv7_chunk(*(x.contiguous() for x in tensors), state.contiguous(), where.first, where.begins, where.stops)


def compile_cases() -> Iterator[tuple[Any, dict[str, str], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    kernels = (
        within_kernel, map_kernel, output_kernel, back_written_kernel, back_values_kernel, back_within_kernel,
        back_readers_kernel, back_writer_kernel,
    )  # fmt: skip
    floats = ("m", "dm", "moved", "written", "decay", "starts", "grads", "u", "row", "dz", "dw")
    yield from chunk_cases("wkv7", kernels, floats)
