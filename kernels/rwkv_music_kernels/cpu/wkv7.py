"""RWKV-7's recurrence in Numba, forward and backward, one head of one piece a call.

Arrays are flat float32. A head's tokens start at `first` and lie `stride` apart, `size` channels each; its state is
`size` rows (values) of `size` columns (keys). S_t is the state behind token t, G_t the loss's gradient in it.
Sums over keys are gathered lane by lane in `parts` arrays, NARROW lanes a row, and folded once a token.
"""

import numpy as np
from numba import njit

from rwkv_music_kernels.cpu.vectors import LANES, NARROW, begin, fold, gather, load, mul, muladd, spread, store, zeros

# Tokens between the states kept for the backward pass, which recomputes those between.
MARK = 16


@njit(nogil=True, cache=True)
def forward(r, decay, k, v, a, b, state, y, new_state, marks, moved, keep, tokens, heads, size, head):
    """One head's y and new state; where `keep`, also the state before every MARK-th token and each S_{t-1} a_t.

    r, decay = exp(w), k, v, a, b, y: (B, T, H, N). state, new_state: (B, H, N, N).
    marks: (B, H, ceil(T / MARK), N, N), moved: (B, T, H, N), both untouched unless `keep`.
    """
    stride = heads * size
    square = size * size
    at = (head // heads * tokens * heads + head % heads) * size
    here = head * square
    mark = head * ((tokens + MARK - 1) // MARK) * square
    y_parts = _scratch(size * NARROW)
    moved_parts = _scratch(size * NARROW)
    sa = _scratch(size)
    _copy(new_state, here, state, here, square)
    if tokens:
        _times(new_state, here, a, at, moved_parts, size, sa)
    for t in range(tokens):
        if keep:
            if t % MARK == 0:
                _copy(marks, mark, new_state, here, square)
                mark += square
            _copy(moved, at, sa, 0, size)
        ahead = at + stride if t + 1 < tokens else at
        for j in range(0, size, LANES):
            decay_j, k_j, b_j = load(decay, at + j), load(k, at + j), load(b, at + j)
            r_j, a_j = load(r, at + j), load(a, ahead + j)
            for i in range(size):
                s = load(new_state, here + i * size + j)
                s = muladd(s, decay_j, muladd(spread(sa, i), b_j, mul(spread(v, at + i), k_j)))
                store(new_state, here + i * size + j, s)
                if j == 0:
                    begin(y_parts, i * NARROW, s, r_j)
                    begin(moved_parts, i * NARROW, s, a_j)
                else:
                    gather(y_parts, i * NARROW, s, r_j)
                    gather(moved_parts, i * NARROW, s, a_j)
        for i in range(0, size, NARROW):
            fold(y, at + i, y_parts, i * NARROW)
            fold(sa, i, moved_parts, i * NARROW)
        at = ahead


@njit(nogil=True, cache=True)
def backward(
    r, decay, k, v, a, b, marks, moved, dy, dnew, dr, dw, dk, dv, da, db, dstate, tokens, heads, size, head
):
    """One head's gradients in all seven inputs, from those in y and the new state and what `forward` kept."""
    stride = heads * size
    square = size * size
    first = (head // heads * tokens * heads + head % heads) * size
    here = head * square
    chunks = (tokens + MARK - 1) // MARK
    states = _scratch((MARK + 1) * square)
    v_parts = _scratch(size * NARROW)
    moved_parts = _scratch(size * NARROW)
    dmoved = _scratch(size)
    _copy(dstate, here, dnew, here, square)
    # Token t's step ends with what only it knows of G_{t+1}, so the last one starts from a step that changes nothing.
    after, after_decay, after_a, after_da = 0, np.ones(size, np.float32), np.zeros(size, np.float32), _scratch(size)
    _copy(dmoved, 0, after_a, 0, size)
    for chunk in range(chunks - 1, -1, -1):
        start = chunk * MARK
        stop = min(start + MARK, tokens)
        _copy(states, 0, marks, (head * chunks + chunk) * square, square)
        _replay(states, decay, k, v, b, moved, first + start * stride, stride, stop - start, size)
        for t in range(stop - 1, start - 1, -1):
            at = first + t * stride
            old = (t - start) * square
            new = old + square
            for j in range(0, size, LANES):
                decay_j, a_j = load(after_decay, after + j), load(after_a, after + j)
                r_j, k_j, b_j = load(r, at + j), load(k, at + j), load(b, at + j)
                a_sum, r_sum, k_sum, b_sum, w_sum = zeros(), zeros(), zeros(), zeros(), zeros()
                for i in range(size):
                    dmoved_i, dy_i = spread(dmoved, i), spread(dy, at + i)
                    g = muladd(load(dstate, here + i * size + j), decay_j, muladd(dmoved_i, a_j, mul(dy_i, r_j)))
                    store(dstate, here + i * size + j, g)
                    s = load(states, new + i * size + j)
                    a_sum = muladd(s, dmoved_i, a_sum)
                    r_sum = muladd(s, dy_i, r_sum)
                    w_sum = muladd(load(states, old + i * size + j), g, w_sum)
                    k_sum = muladd(spread(v, at + i), g, k_sum)
                    b_sum = muladd(spread(moved, at + i), g, b_sum)
                    if j == 0:
                        begin(v_parts, i * NARROW, g, k_j)
                        begin(moved_parts, i * NARROW, g, b_j)
                    else:
                        gather(v_parts, i * NARROW, g, k_j)
                        gather(moved_parts, i * NARROW, g, b_j)
                store(after_da, after + j, a_sum)
                store(dr, at + j, r_sum)
                store(dw, at + j, mul(w_sum, load(decay, at + j)))
                store(dk, at + j, k_sum)
                store(db, at + j, b_sum)
            for i in range(0, size, NARROW):
                fold(dv, at + i, v_parts, i * NARROW)
                fold(dmoved, i, moved_parts, i * NARROW)
            after, after_decay, after_a, after_da = at, decay, a, da
    if tokens:
        _finish(dstate, here, decay, a, first, dmoved, states, da, size)


@njit(nogil=True, cache=True)
def _finish(dstate, here, decay, a, at, dmoved, states, da, size):
    """dstate, until now the gradient in the state behind the first token, becomes that in the state before it."""
    for j in range(0, size, LANES):
        decay_j, a_j = load(decay, at + j), load(a, at + j)
        a_sum = zeros()
        for i in range(size):
            dmoved_i = spread(dmoved, i)
            a_sum = muladd(load(states, i * size + j), dmoved_i, a_sum)
            g = muladd(load(dstate, here + i * size + j), decay_j, mul(dmoved_i, a_j))
            store(dstate, here + i * size + j, g)
        store(da, at + j, a_sum)


@njit(nogil=True, cache=True)
def _replay(states, decay, k, v, b, moved, at, stride, tokens, size):
    """states[t + 1] = states[t] diag(decay) + (S a) b^T + v k^T, for the tokens of one chunk."""
    old, new = 0, size * size
    for _ in range(tokens):
        for j in range(0, size, LANES):
            decay_j, k_j, b_j = load(decay, at + j), load(k, at + j), load(b, at + j)
            for i in range(size):
                s = load(states, old + i * size + j)
                s = muladd(s, decay_j, muladd(spread(moved, at + i), b_j, mul(spread(v, at + i), k_j)))
                store(states, new + i * size + j, s)
        at, old, new = at + stride, new, new + size * size


@njit(nogil=True, cache=True)
def _times(state, here, x, at, parts, size, out):
    """out = S x"""
    for j in range(0, size, LANES):
        x_j = load(x, at + j)
        for i in range(size):
            if j == 0:
                begin(parts, i * NARROW, load(state, here + i * size + j), x_j)
            else:
                gather(parts, i * NARROW, load(state, here + i * size + j), x_j)
    for i in range(0, size, NARROW):
        fold(out, i, parts, i * NARROW)


@njit(nogil=True, cache=True)
def _copy(to, at, source, start, count):
    for i in range(0, count, LANES):
        store(to, at + i, load(source, start + i))


@njit(nogil=True, cache=True)
def _scratch(count):
    """Room for `count` floats from a cache line's start: vectors that straddle two lines cost twice."""
    room = np.empty(count + 16, np.float32)
    skip = -(room.ctypes.data // 4) % 16
    return room[skip : skip + count]
