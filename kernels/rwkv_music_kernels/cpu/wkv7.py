"""RWKV-7's recurrence in Numba, forward and backward, for a range of heads.

Tensors are addresses of contiguous memory. `inputs` are those of r, w, k, v, a, b, each (B, T, H, N); bit n of `half`
is set where the n-th of them and its gradient are bfloat16, not float32; y is (B, T, H, N) like v. States are
(S, H, N, N), float32, a row a value, a column a key. A head is s H + h; `size` is N, a multiple of LANES. Tokens of all
B T are one long row, cut into S sequences: pieces or documents; `ends` and `kept` are the addresses of where they begin
in it and in what is kept of them, see `packed.Sequences`.

Tokens go in chunks of CHUNK, whose rows are brought to float32 in `room`, memory the caller lends, in blocks of
CHUNK + 1 rows. S_t is the state behind token t, G_t the loss's gradient in it. Sums over keys are gathered lane by
lane, NARROW lanes a row of the state, and folded once a token.
"""

from rwkv_music_kernels.cpu.kernel import numbers
from rwkv_music_kernels.cpu.rows import CHUNK, FLOAT, block, compiled, copy, cover, fold_rows, read, row, write
from rwkv_music_kernels.cpu.vectors import (
    LANES,
    NARROW,
    begin,
    exp,
    gather,
    load,
    mul,
    muladd,
    ones,
    spread,
    store,
    zeros,
)

# The blocks of `room`: the inputs, with exp(w) for w; y or its gradient; the gradients of the inputs; S a or its
# gradient; what is gathered for y or dv; what is gathered for S a or its gradient; and the states of a chunk.
_R, _W, _K, _V, _A, _B, _Y, _GRADIENTS = range(8)
_MOVED, _PARTS, _MOVED_PARTS, _STATES = range(_GRADIENTS + 6, _GRADIENTS + 10)


def forward_room(size: int) -> int:
    """Floats of room `forward` needs."""
    return _STATES * (CHUNK + 1) * size


def backward_room(size: int) -> int:
    """Floats of room `backward` needs."""
    return (_STATES + size) * (CHUNK + 1) * size


@compiled
def forward(inputs, half, state, y, new_state, marks, moved, room, ends, kept, keep, heads, size, start, stop):
    """y and the new state of heads start to stop; where `keep`, also the state before every chunk and each S_{t-1} a_t.

    marks: (chunks, H, N, N), moved: (B, T, H, N), both float32 and untouched unless `keep`.
    """
    square, stride = size * size, heads * size
    sa = block(room, _MOVED, size)
    for head in range(start, stop):
        sequence, own = head // heads, head % heads
        begun, mark = numbers(ends)[sequence], numbers(kept)[sequence] * heads + own
        tokens, first = numbers(ends)[sequence + 1] - begun, (begun * heads + own) * size
        chunks = (tokens + CHUNK - 1) // CHUNK
        s = new_state + head * square * FLOAT
        copy(s, state + head * square * FLOAT, square)
        for chunk in range(chunks):
            left, at = tokens - chunk * CHUNK, first + chunk * CHUNK * stride
            _read_chunk(room, inputs, half, at, stride, left, size)
            if chunk == 0:
                _times(s, block(room, _A, size), room, size)
            if keep:
                copy(marks + (mark + chunk * heads) * square * FLOAT, s, square)
            for q in range(min(left, CHUNK)):
                if keep:
                    copy(moved + (at + q * stride) * FLOAT, sa, size)
                _forward_token(s, room, q, size)
            write(y, half >> _V & 1, at, stride, min(left, CHUNK), size, block(room, _Y, size))


@compiled
def _forward_token(s, room, q, size):
    """S_{t-1} becomes S_t and S_{t-1} a_t becomes S_t a_{t+1}, in place; and y_t."""
    r, decay, k = row(room, _R, q, size), row(room, _W, q, size), row(room, _K, q, size)
    v, b, a_ahead = row(room, _V, q, size), row(room, _B, q, size), row(room, _A, q + 1, size)
    sa, parts, moved_parts = block(room, _MOVED, size), block(room, _PARTS, size), block(room, _MOVED_PARTS, size)
    for j in range(0, size, LANES):
        decay_j, k_j, b_j, r_j, a_j = load(decay, j), load(k, j), load(b, j), load(r, j), load(a_ahead, j)
        for i in range(size):
            x = muladd(spread(sa, i), b_j, mul(spread(v, i), k_j))
            x = muladd(load(s, i * size + j), decay_j, x)
            store(s, i * size + j, x)
            if j == 0:
                begin(parts, i * NARROW, x, r_j)
                begin(moved_parts, i * NARROW, x, a_j)
            else:
                gather(parts, i * NARROW, x, r_j)
                gather(moved_parts, i * NARROW, x, a_j)
    fold_rows(row(room, _Y, q, size), parts, size)
    fold_rows(sa, moved_parts, size)


@compiled
def backward(inputs, half, marks, moved, dy, dnew, gradients, dstate, room, ends, kept, heads, size, start, stop):
    """The gradients of heads start to stop in all seven inputs, from those in y and the new state.

    dy: like v; dnew: float32. marks, moved: what `forward` kept. gradients: six addresses, like `inputs`.
    """
    square, stride = size * size, heads * size
    for head in range(start, stop):
        sequence, own = head // heads, head % heads
        begun, mark = numbers(ends)[sequence], numbers(kept)[sequence] * heads + own
        tokens, first = numbers(ends)[sequence + 1] - begun, (begun * heads + own) * size
        chunks = (tokens + CHUNK - 1) // CHUNK
        g = dstate + head * square * FLOAT
        copy(g, dnew + head * square * FLOAT, square)
        cover(block(room, _MOVED, size), zeros(), size)
        for chunk in range(chunks - 1, -1, -1):
            left, at = tokens - chunk * CHUNK, first + chunk * CHUNK * stride
            count, sa = min(left, CHUNK), moved + at * FLOAT
            _read_chunk(room, inputs, half, at, stride, left, size)
            read(block(room, _Y, size), dy, half >> _V & 1, at, stride, count, size)
            copy(block(room, _STATES, size), marks + (mark + chunk * heads) * square * FLOAT, square)
            for q in range(count):
                _replay_token(room, q, sa + q * stride * FLOAT, size)
            for q in range(count - 1, -1, -1):
                _backward_token(g, room, q, sa + q * stride * FLOAT, size)
            _write_gradients(gradients, half, at, stride, left, size, room)
        if tokens:
            _close(g, room, size)
            write(gradients[_A], half >> _A & 1, first, stride, 1, size, block(room, _GRADIENTS + _A, size))


@compiled
def _replay_token(room, q, sa, size):
    """The state behind the q-th token of a chunk from the one before it and S a."""
    decay, k = row(room, _W, q, size), row(room, _K, q, size)
    v, b = row(room, _V, q, size), row(room, _B, q, size)
    old = block(room, _STATES, size) + q * size * size * FLOAT
    new = old + size * size * FLOAT
    for j in range(0, size, LANES):
        decay_j, k_j, b_j = load(decay, j), load(k, j), load(b, j)
        for i in range(size):
            x = muladd(spread(sa, i), b_j, mul(spread(v, i), k_j))
            store(new, i * size + j, muladd(load(old, i * size + j), decay_j, x))


@compiled
def _backward_token(g, room, q, sa, size):
    """G_{t+1}, but for what token t + 1 itself adds, becomes G_t; the gradient in S_t a_{t+1} that in S_{t-1} a_t.

    Leaves the gradients of token t, but for a that of token t + 1; and for w that in the decay, not in its logarithm.
    """
    decay_after, a_after = row(room, _W, q + 1, size), row(room, _A, q + 1, size)
    r, k, v, b = row(room, _R, q, size), row(room, _K, q, size), row(room, _V, q, size), row(room, _B, q, size)
    dy, dmoved = row(room, _Y, q, size), block(room, _MOVED, size)
    parts, moved_parts = block(room, _PARTS, size), block(room, _MOVED_PARTS, size)
    old = block(room, _STATES, size) + q * size * size * FLOAT
    new = old + size * size * FLOAT
    for j in range(0, size, LANES):
        decay_j, a_j, r_j, k_j, b_j = load(decay_after, j), load(a_after, j), load(r, j), load(k, j), load(b, j)
        r_sum, w_sum, k_sum, a_sum, b_sum = zeros(), zeros(), zeros(), zeros(), zeros()
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
                begin(parts, i * NARROW, x, k_j)
                begin(moved_parts, i * NARROW, x, b_j)
            else:
                gather(parts, i * NARROW, x, k_j)
                gather(moved_parts, i * NARROW, x, b_j)
        store(row(room, _GRADIENTS + _R, q, size), j, r_sum)
        store(row(room, _GRADIENTS + _W, q, size), j, w_sum)
        store(row(room, _GRADIENTS + _K, q, size), j, k_sum)
        store(row(room, _GRADIENTS + _A, q + 1, size), j, a_sum)
        store(row(room, _GRADIENTS + _B, q, size), j, b_sum)
    fold_rows(row(room, _GRADIENTS + _V, q, size), parts, size)
    fold_rows(dmoved, moved_parts, size)


@compiled
def _close(g, room, size):
    """G_1 becomes the gradient in the state before the first token; and that token's gradient in a."""
    decay, a, dmoved = block(room, _W, size), block(room, _A, size), block(room, _MOVED, size)
    s, da = block(room, _STATES, size), block(room, _GRADIENTS + _A, size)
    for j in range(0, size, LANES):
        decay_j, a_j, a_sum = load(decay, j), load(a, j), zeros()
        for i in range(size):
            dmoved_i = spread(dmoved, i)
            a_sum = muladd(load(s, i * size + j), dmoved_i, a_sum)
            store(g, i * size + j, muladd(load(g, i * size + j), decay_j, mul(dmoved_i, a_j)))
        store(da, j, a_sum)


@compiled
def _times(s, x, room, size):
    """S x for S a."""
    parts = block(room, _MOVED_PARTS, size)
    for j in range(0, size, LANES):
        x_j = load(x, j)
        for i in range(size):
            if j == 0:
                begin(parts, i * NARROW, load(s, i * size + j), x_j)
            else:
                gather(parts, i * NARROW, load(s, i * size + j), x_j)
    fold_rows(block(room, _MOVED, size), parts, size)


@compiled
def _read_chunk(room, inputs, half, at, stride, left, size):
    """The inputs of a chunk and of the token behind it, where one is left; else of a token that changes nothing."""
    count = min(left, CHUNK + 1)
    for n in range(6):
        read(block(room, n, size), inputs[n], half >> n & 1, at, stride, count, size)
    decay = block(room, _W, size)
    for i in range(0, count * size, LANES):
        store(decay, i, exp(load(decay, i)))
    if left <= CHUNK:
        cover(row(room, _W, left, size), ones(), size)
        cover(row(room, _A, left, size), zeros(), size)


@compiled
def _write_gradients(gradients, half, at, stride, left, size, room):
    """What `_backward_token` left of a chunk; the gradients in a lie one row and one token further."""
    count = min(left, CHUNK)
    decay, dw = block(room, _W, size), block(room, _GRADIENTS + _W, size)
    for i in range(0, count * size, LANES):
        store(dw, i, mul(load(dw, i), load(decay, i)))
    for n in range(6):
        if n == _A:
            ahead = row(room, _GRADIENTS + _A, 1, size)
            write(gradients[n], half >> n & 1, at + stride, stride, min(left - 1, CHUNK), size, ahead)
        else:
            write(gradients[n], half >> n & 1, at, stride, count, size, block(room, _GRADIENTS + n, size))
