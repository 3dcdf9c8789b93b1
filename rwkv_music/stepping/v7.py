"""RWKV-7 as a program; the formulas are those of `rwkv_music.model.v7`."""

from collections.abc import Mapping

from torch import Tensor

from rwkv_music.model.v7 import Rwkv7Spec
from rwkv_music.stepping.parts import begin, end, pair, rest
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.program import Program


def write(spec: Rwkv7Spec, w: Mapping[str, Tensor], dtype: str) -> Program:
    """The program over weights of official names, each asked for once. Raises KernelError for sizes it cannot take."""
    program, c = Program(dtype), spec.width
    x, head = begin(program, spec, w)
    normed, mixed = program.buffer(c), program.buffer(c, 6)
    r, k, v, v_first, y = (program.buffer(c) for _ in range(5))
    decay, rate, gate, v_rate = (program.buffer(c) for _ in range(4))
    ranks = {"w": spec.decay_rank, "a": spec.rate_rank, "g": spec.gate_rank, "v": max(1, spec.value_rank)}
    low = {letter: program.buffer(rank) for letter, rank in ranks.items()}
    hidden = program.buffer(spec.ffn)
    xr, xw, xk, xv, xa, xg = (mixed + n * c for n in range(6))
    for layer in range(spec.layers):
        block, att = f"blocks.{layer}.", f"blocks.{layer}.att."
        count = rest(spec, layer)
        value = v if layer else v_first

        program.norm(x, normed, pair(w, block + "ln1"), at.TIME_SHIFT, layer)
        program.mix(normed, mixed, [w[f"{att}x_{letter}"] for letter in "rwkvag"], c, at.TIME_SHIFT, layer)
        with program.together():
            program.product(xr, w[att + "receptance.weight"], r, count=count)
            program.product(xk, w[att + "key.weight"], k)
            program.product(xv, w[att + "value.weight"], value)
            program.product(xw, w[att + "w1"].mT, low["w"], activation=at.TANH, small=True)
            program.product(xa, w[att + "a1"].mT, low["a"], small=True)
            program.product(xg, w[att + "g1"].mT, low["g"], activation=at.SIGMOID, small=True, count=count)
            if layer:
                program.product(xv, w[att + "v1"].mT, low["v"], small=True)
        with program.together():
            program.product(low["w"], w[att + "w2"].mT, decay, offset=w[att + "w0"], activation=at.DECAY7, small=True)
            program.product(low["a"], w[att + "a2"].mT, rate, offset=w[att + "a0"], activation=at.SIGMOID, small=True)
            if layer:
                v2, v0 = w[att + "v2"].mT, w[att + "v0"]
                program.product(low["v"], v2, v_rate, offset=v0, activation=at.SIGMOID, small=True)
            program.product(low["g"], w[att + "g2"].mT, gate, small=True, count=count)
        buffers = {at.R: r, at.W: decay, at.K: k, at.V: value, at.A: rate, at.GATE: gate, at.Y: y}
        if layer:
            buffers |= {at.V_FIRST: v_first, at.V_RATE: v_rate}
        vectors = [*pair(w, att + "ln_x"), *(w[att + name] for name in ("k_k", "k_a", "r_k"))]
        program.heads7(buffers, vectors, spec.heads, spec.head_size, layer)
        program.product(y, w[att + "output.weight"], x, adds=True, count=count)

        program.norm(x, normed, pair(w, block + "ln2"), at.CHANNEL_SHIFT, layer, count)
        program.mix(normed, mixed, [w[block + "ffn.x_k"]], c, at.CHANNEL_SHIFT, layer, count)
        program.product(mixed, w[block + "ffn.key.weight"], hidden, activation=at.SQUARED_RELU, count=count)
        program.product(hidden, w[block + "ffn.value.weight"], x, adds=True, count=count)
    end(program, spec, w, x, head)
    return program
