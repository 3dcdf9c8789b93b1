"""RWKV-5's and 6's recurrence in Numba, forward and backward, for a range of heads.

Tensors are addresses of contiguous memory. `inputs` are those of r, k, v, w, each (B, T, H, N); bit n of `half` is set
where the n-th of them and its gradient are bfloat16, not float32; y is (B, T, H, N) like v, u is (H, N), float32.
States are (S, H, N, N), float32, a row a value, a column a key. A head is s H + h; `size` is N, a multiple of LANES.
Sequences, `ends` and `kept` are as in `wkv7`.

Tokens go in chunks through `room`, see `rows`. S_t is the state behind token t, G_t the loss's gradient in it. Sums
over keys are gathered lane by lane, NARROW lanes a row of the state, and folded once a token.
"""

from rwkv_music_kernels.cpu.kernel import numbers
from rwkv_music_kernels.cpu.rows import CHUNK, FLOAT, block, compiled, copy, cover, fold_rows, read, row, write
from rwkv_music_kernels.cpu.vectors import (
    LANES,
    NARROW,
    begin,
    exp,
    fill,
    gather,
    load,
    mul,
    muladd,
    spread,
    store,
    total,
    zeros,
)

# The blocks of `room`: the inputs, with exp(w) for w; y or its gradient; what is gathered for y or dv; and for the
# backward pass the gradients of the inputs and the states of a chunk.
_R, _K, _V, _W, _Y, _PARTS, _GRADIENTS = range(7)
_STATES = _GRADIENTS + 4


def forward_room(size: int) -> int:
    """Floats of room `forward` needs."""
    return _GRADIENTS * (CHUNK + 1) * size


def backward_room(size: int) -> int:
    """Floats of room `backward` needs."""
    return (_STATES + size) * (CHUNK + 1) * size


@compiled
def forward(inputs, half, u, state, y, new_state, marks, room, ends, kept, keep, heads, size, start, stop):
    """y and the new state of heads start to stop; where `keep`, also the state before every chunk.

    marks: (chunks, H, N, N), float32, untouched unless `keep`.
    """
    square, stride = size * size, heads * size
    for head in range(start, stop):
        sequence, own = head // heads, head % heads
        begun, mark = numbers(ends)[sequence], numbers(kept)[sequence] * heads + own
        tokens, first = numbers(ends)[sequence + 1] - begun, (begun * heads + own) * size
        chunks = (tokens + CHUNK - 1) // CHUNK
        s = new_state + head * square * FLOAT
        copy(s, state + head * square * FLOAT, square)
        for chunk in range(chunks):
            at, count = first + chunk * CHUNK * stride, min(tokens - chunk * CHUNK, CHUNK)
            _read_chunk(room, inputs, half, at, stride, count, size)
            if keep:
                copy(marks + (mark + chunk * heads) * square * FLOAT, s, square)
            for q in range(count):
                _forward_token(s, u + own * size * FLOAT, room, q, size)
            write(y, half >> _V & 1, at, stride, count, size, block(room, _Y, size))


@compiled
def _forward_token(s, u, room, q, size):
    """y_t, and S_{t-1} becomes S_t in place."""
    r, k, v, decay = row(room, _R, q, size), row(room, _K, q, size), row(room, _V, q, size), row(room, _W, q, size)
    y, parts = row(room, _Y, q, size), block(room, _PARTS, size)
    for j in range(0, size, LANES):
        r_j, k_j, decay_j = load(r, j), load(k, j), load(decay, j)
        for i in range(size):
            x = load(s, i * size + j)
            if j == 0:
                begin(parts, i * NARROW, x, r_j)
            else:
                gather(parts, i * NARROW, x, r_j)
            store(s, i * size + j, muladd(x, decay_j, mul(spread(v, i), k_j)))
    fold_rows(y, parts, size)
    bonus = fill(_bonus(r, u, k, size))
    for i in range(0, size, LANES):
        store(y, i, muladd(load(v, i), bonus, load(y, i)))


@compiled
def _bonus(r, u, k, size):
    """The sum of r u k, which the newest value is weighed by."""
    weight = zeros()
    for j in range(0, size, LANES):
        weight = muladd(mul(load(r, j), load(u, j)), load(k, j), weight)
    return total(weight)


@compiled
def backward(inputs, half, u, marks, dy, dnew, gradients, du, dstate, room, ends, kept, heads, size, start, stop):
    """The gradients of heads start to stop in all six inputs, from those in y and the new state.

    dy: like v; dnew: float32. marks: what `forward` kept. gradients: four addresses, like `inputs`. du: (S, H, N),
    float32, what each sequence adds.
    """
    square, stride = size * size, heads * size
    for head in range(start, stop):
        sequence, own = head // heads, head % heads
        begun, mark = numbers(ends)[sequence], numbers(kept)[sequence] * heads + own
        tokens, first = numbers(ends)[sequence + 1] - begun, (begun * heads + own) * size
        chunks = (tokens + CHUNK - 1) // CHUNK
        g, du_head = dstate + head * square * FLOAT, du + head * size * FLOAT
        copy(g, dnew + head * square * FLOAT, square)
        cover(du_head, zeros(), size)
        for chunk in range(chunks - 1, -1, -1):
            at, count = first + chunk * CHUNK * stride, min(tokens - chunk * CHUNK, CHUNK)
            _read_chunk(room, inputs, half, at, stride, count, size)
            read(block(room, _Y, size), dy, half >> _V & 1, at, stride, count, size)
            copy(block(room, _STATES, size), marks + (mark + chunk * heads) * square * FLOAT, square)
            for q in range(count - 1):
                _replay_token(room, q, size)
            for q in range(count - 1, -1, -1):
                _backward_token(g, room, q, size)
                _backward_bonus(u + own * size * FLOAT, du_head, room, q, size)
            for n in range(4):
                write(gradients[n], half >> n & 1, at, stride, count, size, block(room, _GRADIENTS + n, size))


@compiled
def _replay_token(room, q, size):
    """The state behind the q-th token of a chunk from the one before it."""
    k, v, decay = row(room, _K, q, size), row(room, _V, q, size), row(room, _W, q, size)
    old = block(room, _STATES, size) + q * size * size * FLOAT
    new = old + size * size * FLOAT
    for j in range(0, size, LANES):
        k_j, decay_j = load(k, j), load(decay, j)
        for i in range(size):
            store(new, i * size + j, muladd(load(old, i * size + j), decay_j, mul(spread(v, i), k_j)))


@compiled
def _backward_token(g, room, q, size):
    """G_t becomes G_{t-1} in place; leaves the gradients of token t, but for what the bonus adds."""
    r, k, v, decay = row(room, _R, q, size), row(room, _K, q, size), row(room, _V, q, size), row(room, _W, q, size)
    dy, parts = row(room, _Y, q, size), block(room, _PARTS, size)
    old = block(room, _STATES, size) + q * size * size * FLOAT
    for j in range(0, size, LANES):
        r_j, k_j, decay_j = load(r, j), load(k, j), load(decay, j)
        r_sum, k_sum, w_sum = zeros(), zeros(), zeros()
        for i in range(size):
            x, s, dy_i = load(g, i * size + j), load(old, i * size + j), spread(dy, i)
            r_sum = muladd(s, dy_i, r_sum)
            k_sum = muladd(x, spread(v, i), k_sum)
            w_sum = muladd(x, s, w_sum)
            if j == 0:
                begin(parts, i * NARROW, x, k_j)
            else:
                gather(parts, i * NARROW, x, k_j)
            store(g, i * size + j, muladd(x, decay_j, mul(dy_i, r_j)))
        store(row(room, _GRADIENTS + _R, q, size), j, r_sum)
        store(row(room, _GRADIENTS + _K, q, size), j, k_sum)
        store(row(room, _GRADIENTS + _W, q, size), j, mul(w_sum, decay_j))
    fold_rows(row(room, _GRADIENTS + _V, q, size), parts, size)


@compiled
def _backward_bonus(u, du, room, q, size):
    """Add to the gradients of token t, and to du, what y_t = ... + v (u k r) gives."""
    r, k, v, dy = row(room, _R, q, size), row(room, _K, q, size), row(room, _V, q, size), row(room, _Y, q, size)
    dr, dk = row(room, _GRADIENTS + _R, q, size), row(room, _GRADIENTS + _K, q, size)
    dv = row(room, _GRADIENTS + _V, q, size)
    bonus, weight = fill(_bonus(r, u, k, size)), zeros()
    for i in range(0, size, LANES):
        weight = muladd(load(v, i), load(dy, i), weight)
        store(dv, i, muladd(load(dy, i), bonus, load(dv, i)))
    dbonus = fill(total(weight))
    for j in range(0, size, LANES):
        r_j, k_j, u_j = load(r, j), load(k, j), mul(load(u, j), dbonus)
        store(dr, j, muladd(u_j, k_j, load(dr, j)))
        store(dk, j, muladd(u_j, r_j, load(dk, j)))
        store(du, j, muladd(mul(r_j, k_j), dbonus, load(du, j)))


@compiled
def _read_chunk(room, inputs, half, at, stride, count, size):
    for n in range(4):
        read(block(room, n, size), inputs[n], half >> n & 1, at, stride, count, size)
    decay = block(room, _W, size)
    for i in range(0, count * size, LANES):
        store(decay, i, exp(load(decay, i)))
