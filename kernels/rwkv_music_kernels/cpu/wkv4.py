"""RWKV-4's recurrence in Numba, forward and backward, for a range of strips: LANES channels of one sequence.

Tensors are addresses of contiguous memory: k, v and y (B, T, C), w and u (C,), states (S, 3, C), see `Kernels.wkv4`.
Bit 0 of `half` is set where k and its gradient are bfloat16, not float32, bit 1 for v, y and theirs; all else is
float32. A strip is s C / LANES + c; `width` is C, a multiple of LANES. Sequences, `ends` and `kept` are as in `wkv7`.

With A_t and B_t, the sums of e^k v and e^k, faded, behind token t, a state is A e^-p, B e^-p and p. Their gradients
grow as the sums shrink, so they are kept alike: as ga e^h and gb e^h.
"""

from rwkv_music_kernels.cpu.kernel import numbers
from rwkv_music_kernels.cpu.rows import CHUNK, compiled
from rwkv_music_kernels.cpu.vectors import (
    LANES,
    add,
    div,
    exp,
    greater,
    load,
    load_bf16,
    mul,
    muladd,
    ones,
    store,
    store_bf16,
    sub,
    where_greater,
    zeros,
)


def backward_room() -> int:
    """Floats of room `backward` needs: the states before each token of a chunk."""
    return 3 * CHUNK * LANES


@compiled
def forward(k, v, half, w, u, state, y, new_state, marks, ends, kept, keep, width, start, stop):
    """y and the new state of strips start to stop; where `keep`, also the state before every chunk.

    marks: (chunks, 3, C), float32, untouched unless `keep`.
    """
    strips = width // LANES
    for strip in range(start, stop):
        sequence, channel = strip // strips, strip % strips * LANES
        begun, mark = numbers(ends)[sequence], numbers(kept)[sequence]
        place = sequence * 3 * width + channel
        above, below, top = load(state, place), load(state, place + width), load(state, place + 2 * width)
        decay, bonus = load(w, channel), load(u, channel)
        for t in range(numbers(ends)[sequence + 1] - begun):
            if keep and t % CHUNK == 0:
                _put(marks, (mark + t // CHUNK) * 3 * width + channel, width, above, below, top)
            at = (begun + t) * width + channel
            k_t, v_t = _get(k, at, half & 1), _get(v, at, half >> 1 & 1)
            lifted = add(bonus, k_t)
            most = greater(top, lifted)
            past, now = exp(sub(top, most)), exp(sub(lifted, most))
            y_t = div(muladd(past, above, mul(now, v_t)), muladd(past, below, now))
            _give(y, at, half >> 1 & 1, y_t)
            above, below, top = _next(above, below, top, decay, k_t, v_t)
        _put(new_state, place, width, above, below, top)


@compiled
def _next(above, below, top, decay, k, v):
    """The state behind a token."""
    faded = add(top, decay)
    most = greater(faded, k)
    past, now = exp(sub(faded, most)), exp(sub(k, most))
    return muladd(past, above, mul(now, v)), muladd(past, below, now), most


@compiled
def backward(
    k, v, half, w, u, new_state, marks, dy, dnew, dk, dv, dw, du, state, dstate, room, ends, kept, width, start, stop
):
    """The gradients of strips start to stop in all five inputs, from those in y and the new state.

    dy: like v; dnew: float32. marks: what `forward` kept. dw, du: (S, C), float32, what each sequence adds.
    """
    strips = width // LANES
    for strip in range(start, stop):
        sequence, channel = strip // strips, strip % strips * LANES
        begun, mark = numbers(ends)[sequence], numbers(kept)[sequence]
        tokens = numbers(ends)[sequence + 1] - begun
        place = sequence * 3 * width + channel
        ga, gb, dtop = load(dnew, place), load(dnew, place + width), load(dnew, place + 2 * width)
        # The sums do not depend on the exponent they are kept with: what moves that one moves the others against it.
        held = muladd(ga, load(new_state, place), mul(gb, load(new_state, place + width)))
        dtop = sub(dtop, held)
        h = sub(zeros(), load(new_state, place + 2 * width))
        decay, bonus, w_sum, u_sum = load(w, channel), load(u, channel), zeros(), zeros()
        for chunk in range((tokens + CHUNK - 1) // CHUNK - 1, -1, -1):
            count = min(tokens - chunk * CHUNK, CHUNK)
            first = (begun + chunk * CHUNK) * width + channel
            _replay(room, marks, (mark + chunk) * 3 * width + channel, k, v, half, decay, first, count, width)
            for q in range(count - 1, -1, -1):
                at, before = first + q * width, 3 * q * LANES
                above, below, top = load(room, before), load(room, before + LANES), load(room, before + 2 * LANES)
                k_t, v_t, dy_t = _get(k, at, half & 1), _get(v, at, half >> 1 & 1), _get(dy, at, half >> 1 & 1)
                lifted, faded = add(bonus, k_t), add(top, decay)
                most = greater(top, lifted)
                past, now = exp(sub(top, most)), exp(sub(lifted, most))
                share = div(ones(), muladd(past, below, now))
                y_t = mul(muladd(past, above, mul(now, v_t)), share)
                seen, new = mul(dy_t, share), exp(add(k_t, h))
                at_once = mul(mul(now, seen), sub(v_t, y_t))
                u_sum = add(u_sum, at_once)
                dk_t = muladd(new, muladd(v_t, ga, gb), at_once)
                w_sum = muladd(exp(add(faded, h)), muladd(ga, above, mul(gb, below)), w_sum)
                # p is the greater of two, and its gradient goes to that one.
                dk_t = add(dk_t, where_greater(faded, k_t, zeros(), dtop))
                dtop = where_greater(faded, k_t, dtop, zeros())
                w_sum = add(w_sum, dtop)
                _give(dk, at, half & 1, dk_t)
                _give(dv, at, half >> 1 & 1, muladd(new, ga, mul(now, seen)))
                h_faded, h_seen = add(decay, h), sub(zeros(), most)
                h = greater(h_faded, h_seen)
                old, young = exp(sub(h_faded, h)), mul(exp(sub(h_seen, h)), seen)
                ga, gb = muladd(old, ga, young), sub(mul(old, gb), mul(young, y_t))
        scale = exp(add(h, load(state, place + 2 * width)))
        ga, gb = mul(scale, ga), mul(scale, gb)
        dtop = muladd(ga, load(state, place), muladd(gb, load(state, place + width), dtop))
        _put(dstate, place, width, ga, gb, dtop)
        store(dw, sequence * width + channel, w_sum)
        store(du, sequence * width + channel, u_sum)


@compiled
def _replay(room, marks, mark, k, v, half, decay, first, count, width):
    """Fill the room with the states before each token of a chunk."""
    above, below, top = load(marks, mark), load(marks, mark + width), load(marks, mark + 2 * width)
    for q in range(count):
        _put(room, 3 * q * LANES, LANES, above, below, top)
        at = first + q * width
        above, below, top = _next(above, below, top, decay, _get(k, at, half & 1), _get(v, at, half >> 1 & 1))


@compiled
def _put(states, at, width, above, below, top):
    store(states, at, above)
    store(states, at + width, below)
    store(states, at + 2 * width, top)


@compiled
def _get(tensor, at, half):
    return load_bf16(tensor, at) if half else load(tensor, at)


@compiled
def _give(tensor, at, half, x):
    if half:
        store_bf16(tensor, at, x)
    else:
        store(tensor, at, x)
