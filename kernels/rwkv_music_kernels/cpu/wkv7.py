"""RWKV-7's recurrence in Numba, forward and backward, one head of one piece a call.

Arrays are flat float32. A head's tokens start at `first` and lie `stride` apart, `size` channels each; its state is
`size` rows (values) of `size` columns (keys). S_t is the state behind token t, G_t the loss's gradient in it.
Sums over keys are gathered lane by lane in `parts` arrays, a vector a row, and folded once a token.
"""

import numpy as np
from numba import njit

from rwkv_music_kernels.cpu.vectors import LANES, fold, load, mul, muladd, spread, store, zeros

# Tokens between the states kept for the backward pass, which recomputes those between.
MARK = 16


@njit(nogil=True, cache=True)
def forward(r, decay, k, v, a, b, state, y, new_state, marks, moved, keep, tokens, heads, size, head):
    """One head's y and new state; where `keep`, also the state before every MARK-th token and S_{t-1} a_t.

    r, decay = exp(w), k, v, a, b, y: (B, T, H, N). state, new_state: (B, H, N, N).
    marks: (B, H, ceil(T / MARK), N, N), moved: (B, T, H, N), both untouched unless `keep`.
    """
    stride = heads * size
    at = (head // heads * tokens * heads + head % heads) * size
    here = head * size * size
    mark = head * ((tokens + MARK - 1) // MARK) * size * size
    y_parts = np.empty(size * LANES, np.float32)
    moved_parts = np.empty(size * LANES, np.float32)
    sa = np.empty(size, np.float32)
    new_state[here : here + size * size] = state[here : here + size * size]
    if tokens:
        _times(new_state, here, a, at, moved_parts, size, sa)
    for t in range(tokens):
        if keep:
            if t % MARK == 0:
                marks[mark : mark + size * size] = new_state[here : here + size * size]
                mark += size * size
            moved[at : at + size] = sa
        ahead = at + stride if t + 1 < tokens else at
        _clear(y_parts)
        _clear(moved_parts)
        for j in range(0, size, LANES):
            decay_j, k_j, b_j, r_j, a_j = load(decay, at + j), load(k, at + j), load(b, at + j), load(r, at + j), load(a, ahead + j)
            for i in range(size):
                s = load(new_state, here + i * size + j)
                s = muladd(s, decay_j, muladd(spread(sa, i), b_j, mul(spread(v, at + i), k_j)))
                store(new_state, here + i * size + j, s)
                store(y_parts, i * LANES, muladd(s, r_j, load(y_parts, i * LANES)))
                store(moved_parts, i * LANES, muladd(s, a_j, load(moved_parts, i * LANES)))
        for i in range(0, size, LANES):
            store(y, at + i, fold(y_parts, i * LANES))
            store(sa, i, fold(moved_parts, i * LANES))
        at = ahead


@njit(nogil=True, cache=True)
def _clear(parts):
    for i in range(0, parts.size, LANES):
        store(parts, i, zeros())


@njit(nogil=True, cache=True)
def _times(state, here, x, at, parts, size, out):
    """out = S x"""
    _clear(parts)
    for j in range(0, size, LANES):
        x_j = load(x, at + j)
        for i in range(size):
            store(parts, i * LANES, muladd(load(state, here + i * size + j), x_j, load(parts, i * LANES)))
    for i in range(0, size, LANES):
        store(out, i, fold(parts, i * LANES))


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
    states = np.empty((MARK + 1) * square, np.float32)
    v_parts = np.empty(size * LANES, np.float32)
    moved_parts = np.empty(size * LANES, np.float32)
    dmoved = np.empty(size, np.float32)
    dstate[here : here + square] = dnew[here : here + square]
    for chunk in range(chunks - 1, -1, -1):
        start = chunk * MARK
        stop = min(start + MARK, tokens)
        mark = (head * chunks + chunk) * square
        states[:square] = marks[mark : mark + square]
        _replay(states, decay, k, v, b, moved, first + start * stride, stride, stop - start, size)
        for t in range(stop - 1, start - 1, -1):
            at = first + t * stride
            old = (t - start) * square
            new = old + square
            _clear(v_parts)
            _clear(moved_parts)
            for j in range(0, size, LANES):
                r_j, k_j, b_j = load(r, at + j), load(k, at + j), load(b, at + j)
                r_sum, k_sum, b_sum, w_sum = zeros(), zeros(), zeros(), zeros()
                for i in range(size):
                    dy_i = spread(dy, at + i)
                    g = muladd(dy_i, r_j, load(dstate, here + i * size + j))
                    store(dstate, here + i * size + j, g)
                    r_sum = muladd(load(states, new + i * size + j), dy_i, r_sum)
                    w_sum = muladd(load(states, old + i * size + j), g, w_sum)
                    k_sum = muladd(spread(v, at + i), g, k_sum)
                    b_sum = muladd(spread(moved, at + i), g, b_sum)
                    store(v_parts, i * LANES, muladd(g, k_j, load(v_parts, i * LANES)))
                    store(moved_parts, i * LANES, muladd(g, b_j, load(moved_parts, i * LANES)))
                store(dr, at + j, r_sum)
                store(dw, at + j, mul(w_sum, load(decay, at + j)))
                store(dk, at + j, k_sum)
                store(db, at + j, b_sum)
            for i in range(0, size, LANES):
                store(dv, at + i, fold(v_parts, i * LANES))
                store(dmoved, i, fold(moved_parts, i * LANES))
            for j in range(0, size, LANES):
                decay_j, a_j = load(decay, at + j), load(a, at + j)
                a_sum = zeros()
                for i in range(size):
                    d_i = spread(dmoved, i)
                    a_sum = muladd(load(states, old + i * size + j), d_i, a_sum)
                    store(dstate, here + i * size + j, muladd(load(dstate, here + i * size + j), decay_j, mul(d_i, a_j)))
                store(da, at + j, a_sum)


@njit(nogil=True, cache=True)
def _replay(states, decay, k, v, b, moved, at, stride, tokens, size):
    """states[t + 1] = states[t] diag(decay) + (S a) b^T + v k^T, for the tokens of one chunk."""
    square = size * size
    for t in range(tokens):
        for j in range(0, size, LANES):
            decay_j, k_j, b_j = load(decay, at + j), load(k, at + j), load(b, at + j)
            for i in range(size):
                s = load(states, t * square + i * size + j)
                s = muladd(s, decay_j, muladd(spread(moved, at + i), b_j, mul(spread(v, at + i), k_j)))
                store(states, (t + 1) * square + i * size + j, s)
        at += stride
