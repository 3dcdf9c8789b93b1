"""RWKV-5's and 6's recurrence in Triton as matrix products, a chunk of tokens at a time, forward and backward.

    S <- S diag(e^(w_1 + … + w_L)) + sum over s of v_s (k_s e^(w_(s+1) + … + w_L))^T
    y_t = S (r_t e^(w_1 + … + w_(t-1))) + sum over s <= t of m_ts v_s,
    m_ts = sum over channels of r_t k_s e^(w_(s+1) + … + w_(t-1)) for s < t, and of r_t k_t u for s = t.

The decay is not bounded, so every exponent is a sum of log decays alone, nowhere a difference of two sums. Between the
halves of a chunk it splits at the middle, which makes m a matrix product there; inside a half, m is made lag by lag.
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
    r, k, w, u, m, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """m, (chunks, H, LENGTH, LENGTH)."""
    i = tl.arange(0, LENGTH)
    found = tl.zeros((LENGTH, LENGTH), tl.float32)
    for part in range(N // BLOCK):
        at, inside, columns, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        r_c, k_c = load(r, at, inside), load(k, at, inside)
        from_middle = _later(r_c * tl.exp(_before(w, at, inside, heads * N, LENGTH // 2, LENGTH)), LENGTH)
        to_middle = _sooner(k_c * tl.exp(_after(w, at, begins, stops, heads * N, LENGTH // 2, LENGTH)), LENGTH)
        found += dot(from_middle, tl.trans(to_middle), PRECISION)
        bonus = load(u, tl.program_id(1) * N + columns, columns < N)
        found += tl.where(i[:, None] == i[None, :], tl.sum(r_c * k_c * bonus[None, :], axis=1)[:, None], 0.0)
        fade = tl.zeros((LENGTH, BLOCK), tl.float32)
        for lag in range(1, LENGTH // 2):
            near = inside & ((i % (LENGTH // 2)) >= lag)[:, None]
            pairs = tl.sum(r_c * tl.exp(fade) * load(k, at - lag * heads * N, near), axis=1)
            found += tl.where(i[:, None] == i[None, :] + lag, pairs[:, None], 0.0)
            fade += load(w, at - lag * heads * N, near)
    tl.store(m + _matrix(heads, LENGTH), found)


@triton.jit
def map_kernel(
    k, v, w, written, decay, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK columns of the chunk's map of the state, as scan_kernel takes it."""
    at, inside, _, place = tokens(begins, stops, heads, 0, N, LENGTH, N)
    some, there, keys, _ = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    tl.store(decay + place * N + keys, tl.exp(tl.sum(load(w, some, there), axis=0)))
    writes = load(k, some, there) * tl.exp(_after(w, some, begins, stops, heads * N, LENGTH, LENGTH))
    found = dot(tl.trans(load(v, at, inside)), writes, PRECISION)
    tl.store(written + place * N * N + tl.arange(0, N)[:, None] * N + keys[None, :], found)


@triton.jit
def output_kernel(
    r, v, w, m, starts, y, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK values of y from the states before each chunk."""
    at, inside, _, place = tokens(begins, stops, heads, 0, N, LENGTH, N)
    some, there, values, _ = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    reads = load(r, at, inside) * tl.exp(_before(w, at, inside, heads * N, 0, LENGTH))
    s = tl.load(starts + place * N * N + tl.arange(0, N)[:, None] + values[None, :] * N)
    found = dot(reads, s, PRECISION)
    found += dot(tl.load(m + _matrix(heads, LENGTH)), load(v, some, there), PRECISION)
    tl.store(y + some, found.to(y.dtype.element_ty), mask=there)


@triton.jit
def back_written_kernel(
    r, w, dy, written, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK columns of what y's gradient writes into the state's, (chunks, H, N, N)."""
    at, inside, _, place = tokens(begins, stops, heads, 0, N, LENGTH, N)
    some, there, keys, _ = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    reads = load(r, some, there) * tl.exp(_before(w, some, there, heads * N, 0, LENGTH))
    found = dot(tl.trans(load(dy, at, inside)), reads, PRECISION)
    tl.store(written + place * N * N + tl.arange(0, N)[:, None] * N + keys[None, :], found)


@triton.jit
def back_within_kernel(
    v, dy, dm, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient in m, (chunks, H, LENGTH, LENGTH)."""
    i = tl.arange(0, LENGTH)
    found = tl.zeros((LENGTH, LENGTH), tl.float32)
    for part in range(N // BLOCK):
        at, inside, _, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        found += dot(load(dy, at, inside), tl.trans(load(v, at, inside)), PRECISION)
    tl.store(dm + _matrix(heads, LENGTH), tl.where(i[:, None] >= i[None, :], found, 0.0))


@triton.jit
def back_values_kernel(
    k, w, m, grads, dy, dv, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient in BLOCK values. grads: (chunks, H, N, N), the gradients in the states after each chunk."""
    some, there, values, place = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    found = dot(tl.trans(tl.load(m + _matrix(heads, LENGTH))), load(dy, some, there), PRECISION)
    for part in range(N // BLOCK):
        at, inside, keys, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        writes = load(k, at, inside) * tl.exp(_after(w, at, begins, stops, heads * N, LENGTH, LENGTH))
        g = tl.load(grads + place * N * N + keys[:, None] + values[None, :] * N)
        found += dot(writes, g, PRECISION)
    tl.store(dv + some, found.to(dv.dtype.element_ty), mask=there)


@triton.jit
def back_readers_kernel(
    r, k, w, u, dm, starts, grads, dy, dr, du, dw_read, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient in r for BLOCK keys, u's part of each chunk, (chunks, H, N), and w's as far as it fades what r reads."""
    some, there, keys, place = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    i = tl.arange(0, LENGTH)
    found = tl.zeros((LENGTH, BLOCK), tl.float32)
    to_next = tl.zeros((BLOCK,), tl.float32)
    for part in range(N // BLOCK):
        at, inside, values, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        square = place * N * N + values[:, None] * N + keys[None, :]
        s = tl.load(starts + square)
        to_next += tl.sum(s * tl.load(grads + square), axis=0)
        found += dot(load(dy, at, inside), s, PRECISION)
    found *= tl.exp(_before(w, some, there, heads * N, 0, LENGTH))
    r_c, k_c, d = load(r, some, there), load(k, some, there), tl.load(dm + _matrix(heads, LENGTH))
    to_middle = _sooner(k_c * tl.exp(_after(w, some, begins, stops, heads * N, LENGTH // 2, LENGTH)), LENGTH)
    from_middle = tl.exp(_before(w, some, there, heads * N, LENGTH // 2, LENGTH))
    found += _later(dot(d, to_middle, PRECISION) * from_middle, LENGTH)
    fade = tl.zeros((LENGTH, BLOCK), tl.float32)
    for lag in range(1, LENGTH // 2):
        near = there & ((i % (LENGTH // 2)) >= lag)[:, None]
        pairs = tl.sum(tl.where(i[:, None] == i[None, :] + lag, d, 0.0), axis=1)
        found += pairs[:, None] * tl.exp(fade) * load(k, some - lag * heads * N, near)
        fade += load(w, some - lag * heads * N, near)
    own = tl.sum(tl.where(i[:, None] == i[None, :], d, 0.0), axis=1)[:, None]
    bonus = load(u, tl.program_id(1) * N + keys, keys < N)
    tl.store(dr + some, (found + own * k_c * bonus[None, :]).to(dr.dtype.element_ty), mask=there)
    tl.store(du + place * N + keys, tl.sum(own * r_c * k_c, axis=0))
    found *= r_c
    to_next *= tl.exp(tl.sum(load(w, some, there), axis=0))
    tl.store(dw_read + some, tl.cumsum(found, axis=0, reverse=True) - found + to_next[None, :], mask=there)


@triton.jit
def back_writers_kernel(
    r, k, v, w, u, dm, grads, dw_read, dk, dw, begins, stops, heads, N: tl.constexpr, LENGTH: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients in k and w for BLOCK keys."""
    some, there, keys, place = tokens(begins, stops, heads, tl.program_id(2), N, LENGTH, BLOCK)
    i = tl.arange(0, LENGTH)
    to_end = tl.zeros((LENGTH, BLOCK), tl.float32)
    for part in range(N // BLOCK):
        at, inside, values, _ = tokens(begins, stops, heads, part, N, LENGTH, BLOCK)
        g = tl.load(grads + place * N * N + values[:, None] * N + keys[None, :])
        to_end += dot(load(v, at, inside), g, PRECISION)
    to_end *= tl.exp(_after(w, some, begins, stops, heads * N, LENGTH, LENGTH))
    r_c, k_c, d = load(r, some, there), load(k, some, there), tl.trans(tl.load(dm + _matrix(heads, LENGTH)))
    from_middle = _later(r_c * tl.exp(_before(w, some, there, heads * N, LENGTH // 2, LENGTH)), LENGTH)
    to_middle = tl.exp(_after(w, some, begins, stops, heads * N, LENGTH // 2, LENGTH))
    here = _sooner(dot(d, from_middle, PRECISION) * to_middle, LENGTH)
    fade = tl.zeros((LENGTH, BLOCK), tl.float32)
    for lag in range(1, LENGTH // 2):
        near = (i % (LENGTH // 2) + lag < LENGTH // 2)[:, None] & _followed(begins, stops, lag, LENGTH)
        pairs = tl.sum(tl.where(i[:, None] + lag == i[None, :], d, 0.0), axis=1)
        here += pairs[:, None] * tl.exp(fade) * load(r, some + lag * heads * N, near)
        fade += load(w, some + lag * heads * N, near)
    own = tl.sum(tl.where(i[:, None] == i[None, :], d, 0.0), axis=1)[:, None]
    bonus = load(u, tl.program_id(1) * N + keys, keys < N)
    tl.store(dk + some, (here + to_end + own * r_c * bonus[None, :]).to(dk.dtype.element_ty), mask=there)
    here, to_end = here * k_c, to_end * k_c
    found = load(dw_read, some, there) - tl.cumsum(here, axis=0, reverse=True) + tl.cumsum(to_end, axis=0) - to_end
    tl.store(dw + some, found.to(dw.dtype.element_ty), mask=there)


@_part
def _before(w, at, inside, step, FROM: tl.constexpr, LENGTH: tl.constexpr):
    """The log decay from token FROM of the chunk up to each token, which is not counted."""
    return tl.cumsum(load(w, at - step, inside & (tl.arange(0, LENGTH) > FROM)[:, None]), axis=0)


@_part
def _after(w, at, begins, stops, step, UNTIL: tl.constexpr, LENGTH: tl.constexpr):
    """The log decay behind each token up to token UNTIL of the chunk; neither is counted."""
    near = (tl.arange(0, LENGTH) + 1 < UNTIL)[:, None] & _followed(begins, stops, 1, LENGTH)
    return tl.cumsum(load(w, at + step, near), axis=0, reverse=True)


@_part
def _followed(begins, stops, lag, LENGTH: tl.constexpr):
    """Which tokens have one `lag` behind them in their chunk, (LENGTH, 1)."""
    chunk = tl.program_id(0)
    return (tl.load(begins + chunk) + tl.arange(0, LENGTH) + lag < tl.load(stops + chunk))[:, None]


@_part
def _sooner(x, LENGTH: tl.constexpr):
    """The first half of a chunk, the rest zero."""
    return tl.where((tl.arange(0, LENGTH) < LENGTH // 2)[:, None], x, 0.0)


@_part
def _later(x, LENGTH: tl.constexpr):
    """The second half of a chunk, the rest zero."""
    return tl.where((tl.arange(0, LENGTH) >= LENGTH // 2)[:, None], x, 0.0)


@_part
def _matrix(heads, LENGTH: tl.constexpr):
    """Where this program's matrix among the tokens of its chunk lies."""
    i = tl.arange(0, LENGTH)
    return number(heads) * LENGTH * LENGTH + i[:, None] * LENGTH + i[None, :]


@torch.library.custom_op("rwkv_music::wkv6_chunk", mutates_args=())
def wkv6_chunk(
    r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, first: Tensor, begins: Tensor, stops: Tensor
) -> tuple[Tensor, Tensor]:
    """y and the new state. The inputs contiguous, (…, H, N), u (H, N); first, begins, stops as in Chunks."""
    y, where, precision = torch.empty_like(v), Chunks(first, begins, stops), precision_of(v)
    m, starts, new_state, _ = _states(r, k, v, w, u, state, where)
    start(output_kernel, where, precision, r, v, w, m, starts, y)
    return y, new_state


@wkv6_chunk.register_fake
def _(r, k, v, w, u, state, first, begins, stops):
    return torch.empty_like(v), torch.empty_like(state)


@torch.library.custom_op("rwkv_music::wkv6_chunk_backward", mutates_args=())
def wkv6_chunk_backward(
    r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, first: Tensor, begins: Tensor, stops: Tensor,
    dy: Tensor, dnew: Tensor,
) -> list[Tensor]:  # fmt: skip
    """The gradients in r, k, v, w, u and the state, each in the dtype of its own."""
    where, precision = Chunks(first, begins, stops), precision_of(v)
    dr, dk, dv, dw = (torch.empty_like(x) for x in (r, k, v, w))
    m, starts, _, decay = _states(r, k, v, w, u, state, where)
    dm, written, du = torch.empty_like(m), torch.empty_like(starts), torch.empty_like(decay)
    dw_read = torch.empty_like(w, dtype=torch.float32)
    start(back_written_kernel, where, precision, r, w, dy, written)
    grads, dstate = scan(dnew, decay, None, written, first, precision, reverse=True)
    start(back_within_kernel, where, precision, v, dy, dm, blocks=False)
    start(back_values_kernel, where, precision, k, w, m, grads, dy, dv)
    start(back_readers_kernel, where, precision, r, k, w, u, dm, starts, grads, dy, dr, du, dw_read)
    start(back_writers_kernel, where, precision, r, k, v, w, u, dm, grads, dw_read, dk, dw)
    return [dr, dk, dv, dw, du.sum(0).to(u.dtype), dstate]


@wkv6_chunk_backward.register_fake
def _(r, k, v, w, u, state, first, begins, stops, dy, dnew):
    return [torch.empty_like(x) for x in (r, k, v, w, u, state)]


def _states(
    r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, where: Chunks
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each chunk's m, the states before each, the new state, and each chunk's decay."""
    count, (heads, size), precision = where.begins.numel(), r.shape[-2:], precision_of(v)
    m, written = state.new_empty((count, heads, LENGTH, LENGTH)), state.new_empty((count, heads, size, size))
    decay = state.new_empty((count, heads, size))
    start(within_kernel, where, precision, r, k, w, u, m, blocks=False)
    start(map_kernel, where, precision, k, v, w, written, decay)
    starts, new_state = scan(state, decay, None, written, where.first, precision, reverse=False)
    return m, starts, new_state, decay


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs)
    ctx.set_materialize_grads(True)


def _backward(ctx: Any, dy: Tensor, dnew: Tensor) -> tuple[Tensor | None, ...]:
    found = wkv6_chunk_backward(*ctx.saved_tensors, dy.contiguous(), dnew.contiguous())
    return (*found, None, None, None)


wkv6_chunk.register_autograd(_backward, setup_context=_save)


def run(tensors: list[Tensor], state: Tensor, where: Chunks) -> tuple[Tensor, Tensor]:
    """y and the new state of checked tensors r, k, v, w (B, T, H, N) and u (H, N)."""
    return wkv6_chunk(*(x.contiguous() for x in tensors), state.contiguous(), where.first, where.begins, where.stops)


def compile_cases() -> Iterator[tuple[Any, dict[str, str], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    kernels = (
        within_kernel, map_kernel, output_kernel, back_written_kernel, back_within_kernel, back_values_kernel,
        back_readers_kernel, back_writers_kernel,
    )  # fmt: skip
    floats = ("m", "dm", "written", "decay", "starts", "grads", "du", "dw_read")
    yield from chunk_cases("wkv6", kernels, floats)
