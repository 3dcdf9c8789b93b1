"""The time mix of one head of one piece: RWKV's memory walked token by token, and its norm, bonus and gate.

A task is a piece and a head; tokens follow each other in scratch rows. A memory is (N, N), a row a value, a column a
key. `s` is the memory before the token, read from the old state for the first token, and `new` where the new one goes.
Sums over keys are gathered NARROW lanes a row and folded at the end; see `vectors`.
"""

import math

import numpy as np

from rwkv_music_kernels.contract import GROUP_NORM_EPS
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.kernel import Kernel, inner, numbers
from rwkv_music_kernels.cpu.scratch import FLOAT, LINE, buffer
from rwkv_music_kernels.cpu.vectors import (
    LANES,
    NARROW,
    add,
    ask_for,
    begin,
    div,
    exp,
    fill,
    fold,
    gather,
    greater,
    load,
    mul,
    muladd,
    ones,
    spread,
    store,
    sub,
    total,
    zeros,
)

# Rows of the room, N floats each; gathered sums take NARROW of them.
_REMOVED, _PUT_BACK, _KEY, _VALUE, _FADED, _MOVED, _SEEN = range(7)
_PARTS, _MOVED_PARTS, _ROWS = 7, 7 + NARROW, 7 + 2 * NARROW

# The vectors of a step, each of all C channels: for HEADS7, for HEADS6, and for HEADS4.
_K_K, _K_A, _R_K = 2, 3, 4
_NORM_WEIGHT, _NORM_BIAS = 0, 1
_BONUS = 2
_DECAY4, _BONUS4 = 0, 1

# The buffers of a step whose rows are read and written.
_READ7 = (at.R, at.W, at.K, at.V, at.A, at.GATE, at.V_FIRST, at.V_RATE, at.Y)
_READ6 = (at.R, at.W, at.K, at.V, at.GATE, at.Y)
_READ4 = (at.R, at.K, at.V, at.Y)

# Channels that a task of RWKV-4 takes, which has no heads.
CHANNELS4 = LANES


def room_floats(size: int) -> int:
    """Floats of room that a head of `size` channels needs."""
    return _ROWS * size


@Kernel
def heads7(step, call, task, stop, room):
    """RWKV-7: y = (GroupNorm(S r) + (r k r_k) v) gate behind S <- S diag(decay) - (S kk) (kk a)^T + v k^T.

    Buffers: r, w (the decay itself), k, v, a, gate; v_first and its rate, unless this is the first layer.
    Vectors: ln_x.weight, ln_x.bias, k_k, k_a, r_k.
    """
    step, call = numbers(step), numbers(call)
    for one in range(task, stop):
        _head7(step, call, one, room)


@inner
def _head7(step, call, task, room):
    size = step[at.SIZE]
    piece, head = task // step[at.HEADS], task % step[at.HEADS]
    s, new = _memory(step, call, at.OLD_MEMORY_AT, task), _memory(step, call, at.NEW_MEMORY_AT, task)
    vectors, width = step[at.VECTORS_AT] + head * size * FLOAT, step[at.HEADS] * size
    for t in range(call[at.LENGTH]):
        row = _row(step, call, piece, t, head)
        _ask_ahead(step, call, row, _READ7, size)
        returned, known, bonus = _prepare7(step, row, vectors, width, size, room)
        _look7(s, room, size)
        _change7(s, new, row + step[at.W] * FLOAT, room, size)
        s = new
        seen, moved, value = _place(room, _SEEN, size), _place(room, _MOVED, size), _place(room, _VALUE, size)
        for i in range(0, size, LANES):
            y = muladd(load(moved, i), fill(returned), load(seen, i))
            store(seen, i, muladd(load(value, i), fill(known), y))
        _group_norm(seen, vectors, width, size)
        out, gate = row + step[at.Y] * FLOAT, row + step[at.GATE] * FLOAT
        for i in range(0, size, LANES):
            y = muladd(load(value, i), fill(bonus), load(seen, i))
            store(out, i, mul(y, load(gate, i)))


@inner
def _prepare7(step, row, vectors, width, size, room):
    """Fill the room with -kk, kk a, k, v and decay r; returns the sums of r kk a, of r k and of r k r_k."""
    r, decay = row + step[at.R] * FLOAT, row + step[at.W] * FLOAT
    k, v, a = row + step[at.K] * FLOAT, row + step[at.V] * FLOAT, row + step[at.A] * FLOAT
    removed, value = _place(room, _REMOVED, size), _place(room, _VALUE, size)
    square = zeros()
    for i in range(0, size, LANES):
        kk = mul(load(k, i), load(vectors, _K_K * width + i))
        square = muladd(kk, kk, square)
        store(removed, i, kk)
        x = load(v, i)
        if step[at.V_RATE] != at.NOWHERE:
            first, rate = row + step[at.V_FIRST] * FLOAT, row + step[at.V_RATE] * FLOAT
            x = muladd(sub(load(first, i), x), load(rate, i), x)
        store(value, i, x)
    scale = fill(np.float32(-1 / max(math.sqrt(total(square)), 1e-12)))
    returned, known, bonus = zeros(), zeros(), zeros()
    for i in range(0, size, LANES):
        away = mul(load(removed, i), scale)
        back = mul(sub(zeros(), away), load(a, i))
        weaker = mul(sub(load(a, i), ones()), load(vectors, _K_A * width + i))
        key = muladd(load(k, i), weaker, load(k, i))
        r_i = load(r, i)
        store(removed, i, away)
        store(_place(room, _PUT_BACK, size), i, back)
        store(_place(room, _KEY, size), i, key)
        store(_place(room, _FADED, size), i, mul(load(decay, i), r_i))
        returned = muladd(r_i, back, returned)
        known = muladd(r_i, key, known)
        bonus = muladd(mul(r_i, key), load(vectors, _R_K * width + i), bonus)
    return total(returned), total(known), total(bonus)


@inner
def _look7(s, room, size):
    """moved = S (-kk), and what r sees of the old memory, seen = S (decay r)."""
    away, faded = _place(room, _REMOVED, size), _place(room, _FADED, size)
    parts, moved_parts = _place(room, _PARTS, size), _place(room, _MOVED_PARTS, size)
    for j in range(0, size, LANES):
        away_j, faded_j = load(away, j), load(faded, j)
        for i in range(size):
            x = load(s, i * size + j)
            if j == 0:
                begin(parts, i * NARROW, x, faded_j)
                begin(moved_parts, i * NARROW, x, away_j)
            else:
                gather(parts, i * NARROW, x, faded_j)
                gather(moved_parts, i * NARROW, x, away_j)
    seen, moved = _place(room, _SEEN, size), _place(room, _MOVED, size)
    for i in range(0, size, NARROW):
        fold(seen, i, parts, i * NARROW)
        fold(moved, i, moved_parts, i * NARROW)


@inner
def _change7(s, new, decay, room, size):
    key, back = _place(room, _KEY, size), _place(room, _PUT_BACK, size)
    value, moved = _place(room, _VALUE, size), _place(room, _MOVED, size)
    for j in range(0, size, LANES):
        decay_j, key_j, back_j = load(decay, j), load(key, j), load(back, j)
        for i in range(size):
            x = muladd(spread(moved, i), back_j, mul(spread(value, i), key_j))
            store(new, i * size + j, muladd(load(s, i * size + j), decay_j, x))


@Kernel
def heads6(step, call, task, stop, room):
    """RWKV-5 and 6: y = GroupNorm((S + v (u k)^T) r) gate, then S <- S diag(decay) + v k^T.

    Buffers: r, w (the decay itself; DECAY_AT has it where it is the same for all tokens), k, v; gate, if there is one.
    Vectors: ln_x.weight, ln_x.bias, u.
    """
    step, call = numbers(step), numbers(call)
    for one in range(task, stop):
        _head6(step, call, one, room)


@inner
def _head6(step, call, task, room):
    size = step[at.SIZE]
    piece, head = task // step[at.HEADS], task % step[at.HEADS]
    s, new = _memory(step, call, at.OLD_MEMORY_AT, task), _memory(step, call, at.NEW_MEMORY_AT, task)
    vectors, width = step[at.VECTORS_AT] + head * size * FLOAT, step[at.HEADS] * size
    seen = _place(room, _SEEN, size)
    for t in range(call[at.LENGTH]):
        row = _row(step, call, piece, t, head)
        _ask_ahead(step, call, row, _READ6, size)
        r, k, v = row + step[at.R] * FLOAT, row + step[at.K] * FLOAT, row + step[at.V] * FLOAT
        decay = row + step[at.W] * FLOAT
        if step[at.DECAY_AT]:
            decay = step[at.DECAY_AT] + head * size * FLOAT
        _walk6(s, new, r, k, v, decay, room, size)
        s = new
        newest = zeros()
        for i in range(0, size, LANES):
            newest = muladd(mul(load(r, i), load(k, i)), load(vectors, _BONUS * width + i), newest)
        bonus = fill(total(newest))
        for i in range(0, size, LANES):
            store(seen, i, muladd(load(v, i), bonus, load(seen, i)))
        _group_norm(seen, vectors, width, size)
        out = row + step[at.Y] * FLOAT
        for i in range(0, size, LANES):
            y = load(seen, i)
            if step[at.GATE] != at.NOWHERE:
                y = mul(y, load(row + step[at.GATE] * FLOAT, i))
            store(out, i, y)


@inner
def _walk6(s, new, r, k, v, decay, room, size):
    """seen = S r, and the new memory."""
    parts, seen = _place(room, _PARTS, size), _place(room, _SEEN, size)
    for j in range(0, size, LANES):
        r_j, k_j, decay_j = load(r, j), load(k, j), load(decay, j)
        for i in range(size):
            x = load(s, i * size + j)
            if j == 0:
                begin(parts, i * NARROW, x, r_j)
            else:
                gather(parts, i * NARROW, x, r_j)
            store(new, i * size + j, muladd(x, decay_j, mul(spread(v, i), k_j)))
    for i in range(0, size, NARROW):
        fold(seen, i, parts, i * NARROW)


@Kernel
def heads4(step, call, task, stop, room):
    """RWKV-4: y = r times the mean of the values so far, weighed by e^k and fading; for CHANNELS4 channels.

    Buffers: r, k, v. Vectors: the log decay, u. A memory is (3, C), see `Kernels.wkv4`.
    """
    step, call = numbers(step), numbers(call)
    for one in range(task, stop):
        _channels4(step, call, one)


@inner
def _channels4(step, call, task):
    piece, block, width = task // step[at.HEADS], task % step[at.HEADS], step[at.HEADS] * CHANNELS4
    start = (step[at.LAYER] * call[at.PIECES] + piece) * 3 * width + block * CHANNELS4
    old, new = call[at.OLD_MEMORY_AT], call[at.NEW_MEMORY_AT]
    above, below, top = load(old, start), load(old, start + width), load(old, start + 2 * width)
    vectors = step[at.VECTORS_AT] + block * CHANNELS4 * FLOAT
    decay, bonus = load(vectors, _DECAY4 * width), load(vectors, _BONUS4 * width)
    for t in range(call[at.LENGTH]):
        row = _row(step, call, piece, t, block)
        _ask_ahead(step, call, row, _READ4, CHANNELS4)
        k, v = load(row, step[at.K]), load(row, step[at.V])
        most = greater(top, add(bonus, k))
        past, now = exp(sub(top, most)), exp(sub(add(bonus, k), most))
        y = div(muladd(past, above, mul(now, v)), muladd(past, below, now))
        store(row, step[at.Y], mul(y, load(row, step[at.R])))
        most = greater(add(top, decay), k)
        past, now = exp(sub(add(top, decay), most)), exp(sub(k, most))
        above, below, top = muladd(past, above, mul(now, v)), muladd(past, below, now), most
    store(new, start, above)
    store(new, start + width, below)
    store(new, start + 2 * width, top)


@inner
def _group_norm(x, vectors, width, size):
    """Norm `size` floats, and weigh and move them by the first two of `vectors`."""
    whole = zeros()
    for i in range(0, size, LANES):
        whole = add(whole, load(x, i))
    mean = fill(np.float32(total(whole) / np.float32(size)))
    whole = zeros()
    for i in range(0, size, LANES):
        away = sub(load(x, i), mean)
        whole = muladd(away, away, whole)
    scale = fill(np.float32(1 / math.sqrt(total(whole) / np.float32(size) + GROUP_NORM_EPS)))
    for i in range(0, size, LANES):
        weight, bias = load(vectors, _NORM_WEIGHT * width + i), load(vectors, _NORM_BIAS * width + i)
        store(x, i, muladd(mul(sub(load(x, i), mean), scale), weight, bias))


@inner
def _memory(step, call, which, task):
    """Where the memory of a task lies in the old or the new state, (L, B, H, N, N)."""
    tasks = call[at.PIECES] * step[at.HEADS]
    return call[which] + (step[at.LAYER] * tasks + task) * step[at.SIZE] * step[at.SIZE] * FLOAT


@inner
def _row(step, call, piece, t, head):
    """The scratch row of a token, at the first channel of the head."""
    return buffer(call, piece * call[at.LENGTH] + t, head * step[at.SIZE])


@inner
def _ask_ahead(step, call, row, buffers, size):
    """Have the next token's row of some buffers brought nearer: rows lie too far apart for a cache to foresee them."""
    following = row + call[at.PITCH] * FLOAT
    for which in buffers:
        for line in range(0, size * FLOAT, LINE):
            ask_for(following + step[which] * FLOAT + line)


@inner
def _place(room, n, size):
    return room + n * size * FLOAT
