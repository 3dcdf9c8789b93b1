"""RWKV-7's recurrence in Numba, forward and backward, for a range of heads.

Tensors are addresses of contiguous memory: r, w, k, v, a, b, y and their gradients (B, T, H, N), float32 or bfloat16;
states (B, H, N, N), float32, a row a value, a column a key. `half` has bit 0 for r, 1 for w, up to 5 for b: set where
that tensor and its gradient are bfloat16; y goes with v. A head is b H + h; `size` is N, a multiple of LANES.

Tokens go in chunks of CHUNK, whose rows are brought to float32 in `room`, memory the caller lends. S_t is the state
behind token t, G_t the loss's gradient in it. Sums over keys are gathered lane by lane in `parts`, NARROW lanes a
row, and folded once a token.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

from rwkv_music_kernels.cpu.vectors import (
    LANES,
    NARROW,
    begin,
    exp,
    fold,
    gather,
    load,
    load_bf16,
    mul,
    muladd,
    ones,
    spread,
    store,
    store_bf16,
    zeros,
)

# Tokens from one state kept for the backward pass to the next; those between are recomputed.
CHUNK = 16

_R, _W, _K, _V, _A, _B = (1 << bit for bit in range(6))
_FLOAT = 4


def _compiled(function: Callable) -> Callable[..., Any]:
    return njit(nogil=True, cache=True)(function)


def forward_room(size: int) -> int:
    """Floats of room `forward` needs."""
    return size * (7 * CHUNK + 2 + 2 * NARROW)


def backward_room(size: int) -> int:
    """Floats of room `backward` needs."""
    return size * (13 * CHUNK + 4 + 2 * NARROW + (CHUNK + 1) * size)


@_compiled
def forward(r, w, k, v, a, b, half, state, y, new_state, marks, moved, keep, room, tokens, heads, size, start, stop):
    """y and the new state of heads start to stop; where `keep`, also the state before every chunk and each S_{t-1} a_t.

    marks: (B, H, ceil(T / CHUNK), N, N), moved: (B, T, H, N), both float32 and untouched unless `keep`.
    """
    row, square, stride = size * _FLOAT, size * size, heads * size
    rs, decays, ks, vs, bs, ys, as_ = (
        room,
        room + CHUNK * row,
        room + 2 * CHUNK * row,
        room + 3 * CHUNK * row,
        room + 4 * CHUNK * row,
        room + 5 * CHUNK * row,
        room + 6 * CHUNK * row,
    )
    sa = as_ + (CHUNK + 1) * row
    y_parts = sa + row
    moved_parts = y_parts + NARROW * row
    for head in range(start, stop):
        first = (head // heads * tokens * heads + head % heads) * size
        s = new_state + head * square * _FLOAT
        mark = marks + head * ((tokens + CHUNK - 1) // CHUNK) * square * _FLOAT
        _copy(s, state + head * square * _FLOAT, square)
        for t in range(0, tokens, CHUNK):
            count, more = min(CHUNK, tokens - t), min(CHUNK + 1, tokens - t)
            at = first + t * stride
            _read(rs, r, half & _R, at, stride, count, size)
            _read(decays, w, half & _W, at, stride, count, size)
            _read(ks, k, half & _K, at, stride, count, size)
            _read(vs, v, half & _V, at, stride, count, size)
            _read(as_, a, half & _A, at, stride, more, size)
            _read(bs, b, half & _B, at, stride, count, size)
            _exp(decays, count * size)
            if t == 0:
                _times(s, as_, moved_parts, size, sa)
            if keep:
                _copy(mark, s, square)
                mark += square * _FLOAT
            for q in range(count):
                if keep:
                    _copy(moved + (at + q * stride) * _FLOAT, sa, size)
                here, ahead = q * row, min(q + 1, more - 1) * row
                _forward_token(
                    s, rs + here, decays + here, ks + here, vs + here, bs + here, as_ + ahead, sa, ys + here, y_parts,
                    moved_parts, size,
                )  # fmt: skip
            _write(y, half & _V, at, stride, count, size, ys)


@_compiled
def _forward_token(s, r, decay, k, v, b, a_ahead, sa, y, y_parts, moved_parts, size):
    """S_{t-1} -> S_t and S_{t-1} a_t -> S_t a_{t+1} in place, and y_t."""
    for j in range(0, size, LANES):
        decay_j, k_j, b_j, r_j, a_j = load(decay, j), load(k, j), load(b, j), load(r, j), load(a_ahead, j)
        for i in range(size):
            x = muladd(spread(sa, i), b_j, mul(spread(v, i), k_j))
            x = muladd(load(s, i * size + j), decay_j, x)
            store(s, i * size + j, x)
            if j == 0:
                begin(y_parts, i * NARROW, x, r_j)
                begin(moved_parts, i * NARROW, x, a_j)
            else:
                gather(y_parts, i * NARROW, x, r_j)
                gather(moved_parts, i * NARROW, x, a_j)
    for i in range(0, size, NARROW):
        fold(y, i, y_parts, i * NARROW)
        fold(sa, i, moved_parts, i * NARROW)


@_compiled
def backward(
    r,
    w,
    k,
    v,
    a,
    b,
    half,
    marks,
    moved,
    dy,
    dnew,
    dr,
    dw,
    dk,
    dv,
    da,
    db,
    dstate,
    room,
    tokens,
    heads,
    size,
    start,
    stop,
):
    """The gradients of heads start to stop in all seven inputs, from those in y and the new state.

    dy, like v, and dnew, float32: those gradients. marks, moved: what `forward` kept.
    """
    row, square, stride = size * _FLOAT, size * size, heads * size
    block = CHUNK * row
    rs, ks, vs, bs, dys = room, room + block, room + 2 * block, room + 3 * block, room + 4 * block
    drs, dks, dvs, dbs, dws = room + 5 * block, room + 6 * block, room + 7 * block, room + 8 * block, room + 9 * block
    # One row more than tokens: the step of a token starts with what only the token after it knows of G.
    decays, as_, das = room + 10 * block, room + 11 * block + row, room + 12 * block + 2 * row
    dmoved = room + 13 * block + 3 * row
    v_parts, moved_parts = dmoved + row, dmoved + row + NARROW * row
    states = moved_parts + NARROW * row
    chunks = (tokens + CHUNK - 1) // CHUNK
    for head in range(start, stop):
        first = (head // heads * tokens * heads + head % heads) * size
        g = dstate + head * square * _FLOAT
        _copy(g, dnew + head * square * _FLOAT, square)
        _fill_row(dmoved, zeros(), size)
        for chunk in range(chunks - 1, -1, -1):
            t = chunk * CHUNK
            count, more = min(CHUNK, tokens - t), min(CHUNK + 1, tokens - t)
            at = first + t * stride
            _read(rs, r, half & _R, at, stride, count, size)
            _read(decays, w, half & _W, at, stride, more, size)
            _read(ks, k, half & _K, at, stride, count, size)
            _read(vs, v, half & _V, at, stride, count, size)
            _read(as_, a, half & _A, at, stride, more, size)
            _read(bs, b, half & _B, at, stride, count, size)
            _read(dys, dy, half & _V, at, stride, count, size)
            _exp(decays, more * size)
            if more == count:
                _fill_row(decays + count * row, ones(), size)
                _fill_row(as_ + count * row, zeros(), size)
            _copy(states, marks + (head * chunks + chunk) * square * _FLOAT, square)
            sa = moved + at * _FLOAT
            _replay(states, decays, ks, vs, bs, sa, stride, count, size)
            for q in range(count - 1, -1, -1):
                here, old = q * row, states + q * square * _FLOAT
                _backward_token(
                    g, old, old + square * _FLOAT, decays + here + row, as_ + here + row, das + here + row, dmoved,
                    rs + here, ks + here, vs + here, bs + here, sa + q * stride * _FLOAT, dys + here,
                    drs + here, dws + here, dks + here, dvs + here, dbs + here, v_parts, moved_parts, size,
                )  # fmt: skip
            _times_rows(dws, decays, count * size)
            _write(dr, half & _R, at, stride, count, size, drs)
            _write(dw, half & _W, at, stride, count, size, dws)
            _write(dk, half & _K, at, stride, count, size, dks)
            _write(dv, half & _V, at, stride, count, size, dvs)
            _write(db, half & _B, at, stride, count, size, dbs)
            _write(da, half & _A, at + stride, stride, more - 1, size, das + row)
        if tokens:
            _close(g, states, decays, as_, dmoved, das, size)
            _write(da, half & _A, first, stride, 1, size, das)


@_compiled
def _backward_token(
    g,
    old,
    new,
    decay_after,
    a_after,
    da_after,
    dmoved,
    r,
    k,
    v,
    b,
    sa,
    dy,
    dr,
    dw,
    dk,
    dv,
    db,
    v_parts,
    moved_parts,
    size,
):
    """G, without what token t + 1 alone knows of it, becomes G_t; `dmoved` goes from S_t a_{t+1} to S_{t-1} a_t.

    old, new: S_{t-1}, S_t. Leaves the gradients of token t, but da_{t+1} instead of da_t; dw is in the decay, not its log.
    """
    for j in range(0, size, LANES):
        decay_j, a_j, r_j, k_j, b_j = load(decay_after, j), load(a_after, j), load(r, j), load(k, j), load(b, j)
        a_sum, r_sum, k_sum, b_sum, w_sum = zeros(), zeros(), zeros(), zeros(), zeros()
        for i in range(size):
            dmoved_i, dy_i = spread(dmoved, i), spread(dy, i)
            x = muladd(load(g, i * size + j), decay_j, muladd(dmoved_i, a_j, mul(dy_i, r_j)))
            store(g, i * size + j, x)
            s = load(new, i * size + j)
            a_sum = muladd(s, dmoved_i, a_sum)
            r_sum = muladd(s, dy_i, r_sum)
            w_sum = muladd(load(old, i * size + j), x, w_sum)
            k_sum = muladd(spread(v, i), x, k_sum)
            b_sum = muladd(spread(sa, i), x, b_sum)
            if j == 0:
                begin(v_parts, i * NARROW, x, k_j)
                begin(moved_parts, i * NARROW, x, b_j)
            else:
                gather(v_parts, i * NARROW, x, k_j)
                gather(moved_parts, i * NARROW, x, b_j)
        store(da_after, j, a_sum)
        store(dr, j, r_sum)
        store(dw, j, w_sum)
        store(dk, j, k_sum)
        store(db, j, b_sum)
    for i in range(0, size, NARROW):
        fold(dv, i, v_parts, i * NARROW)
        fold(dmoved, i, moved_parts, i * NARROW)


@_compiled
def _close(g, old, decay, a, dmoved, da, size):
    """What the first token alone knows: G_1 becomes the gradient in the state before it, `old`; and da_1."""
    for j in range(0, size, LANES):
        decay_j, a_j, a_sum = load(decay, j), load(a, j), zeros()
        for i in range(size):
            dmoved_i = spread(dmoved, i)
            a_sum = muladd(load(old, i * size + j), dmoved_i, a_sum)
            store(g, i * size + j, muladd(load(g, i * size + j), decay_j, mul(dmoved_i, a_j)))
        store(da, j, a_sum)


@_compiled
def _replay(states, decay, k, v, b, sa, sa_stride, count, size):
    """states[t + 1] = states[t] diag(decay_t) + (S a)_t b_t^T + v_t k_t^T, for the tokens of one chunk."""
    new = states + size * size * _FLOAT
    for q in range(count):
        for j in range(q * size, (q + 1) * size, LANES):
            decay_j, k_j, b_j = load(decay, j), load(k, j), load(b, j)
            for i in range(size):
                at = q * size * size + i * size + j - q * size
                x = muladd(spread(sa, q * sa_stride + i), b_j, mul(spread(v, q * size + i), k_j))
                store(new, at, muladd(load(states, at), decay_j, x))


@_compiled
def _times(s, x, parts, size, out):
    """out = S x"""
    for j in range(0, size, LANES):
        x_j = load(x, j)
        for i in range(size):
            if j == 0:
                begin(parts, i * NARROW, load(s, i * size + j), x_j)
            else:
                gather(parts, i * NARROW, load(s, i * size + j), x_j)
    for i in range(0, size, NARROW):
        fold(out, i, parts, i * NARROW)


@_compiled
def _read(rows, tensor, half, at, stride, count, size):
    """Bring `count` rows of `size` numbers, `stride` apart from tensor[at] on, together as floats."""
    for q in range(count):
        for j in range(0, size, LANES):
            store(rows, q * size + j, load_bf16(tensor, at + j) if half else load(tensor, at + j))
        at += stride


@_compiled
def _write(tensor, half, at, stride, count, size, rows):
    """Undo `_read`."""
    for q in range(count):
        for j in range(0, size, LANES):
            if half:
                store_bf16(tensor, at + j, load(rows, q * size + j))
            else:
                store(tensor, at + j, load(rows, q * size + j))
        at += stride


@_compiled
def _copy(to, source, count):
    for i in range(0, count, LANES):
        store(to, i, load(source, i))


@_compiled
def _fill_row(row, x, size):
    for i in range(0, size, LANES):
        store(row, i, x)


@_compiled
def _exp(rows, count):
    for i in range(0, count, LANES):
        store(rows, i, exp(load(rows, i)))


@_compiled
def _times_rows(rows, factors, count):
    for i in range(0, count, LANES):
        store(rows, i, mul(load(rows, i), load(factors, i)))
