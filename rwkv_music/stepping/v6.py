"""RWKV-6 as a program; the formulas are those of `rwkv_music.model.v6`."""

from collections.abc import Mapping

from torch import Tensor

from rwkv_music.model.v6 import MIXES, Rwkv6Spec
from rwkv_music.stepping.parts import ChannelMix, begin, end, pair, rest
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.program import Program


def write(spec: Rwkv6Spec, w: Mapping[str, Tensor], dtype: str) -> Program:
    """The program over weights of official names. Raises KernelError for sizes it cannot take."""
    program, c, rank = Program(dtype), spec.width, spec.mix_rank
    x, head = begin(program, spec, w)
    normed, mixed, mixes = program.buffer(c), program.buffer(c, 5), program.buffer(c, 5)
    lows = [program.buffer(rank) for _ in MIXES]
    low = program.buffer(spec.decay_rank)
    r, k, v, gate, decay, y = (program.buffer(c) for _ in range(6))
    channel = ChannelMix(program, spec)
    xw, xk, xv, xr, xg = (mixed + n * c for n in range(5))
    for layer in range(spec.layers):
        block, att = f"blocks.{layer}.", f"blocks.{layer}.att."
        count = rest(spec, layer)
        program.norm(x, normed, pair(w, block + "ln1"), at.TIME_SHIFT, layer)
        program.mix(normed, mixed, [w[att + "time_maa_x"]], c, at.TIME_SHIFT, layer)
        down, up = w[att + "time_maa_w1"], w[att + "time_maa_w2"]
        with program.together():
            for n, hidden in enumerate(lows):
                rows = down[:, n * rank : (n + 1) * rank].mT
                program.product(mixed, rows, hidden, activation=at.TANH, small=True)
        with program.together():
            for n, (letter, hidden) in enumerate(zip(MIXES, lows, strict=True)):
                program.product(hidden, up[n].mT, mixes + n * c, offset=w[f"{att}time_maa_{letter}"], small=True)
        program.mix_by(normed, mixed, mixes, 5, c, at.TIME_SHIFT, layer)
        with program.together():
            program.product(xr, w[att + "receptance.weight"], r, count=count)
            program.product(xk, w[att + "key.weight"], k)
            program.product(xv, w[att + "value.weight"], v)
            program.product(xg, w[att + "gate.weight"], gate, activation=at.SILU, count=count)
            program.product(xw, w[att + "time_decay_w1"].mT, low, activation=at.TANH, small=True)
        w2, w0 = w[att + "time_decay_w2"].mT, w[att + "time_decay"]
        program.product(low, w2, decay, offset=w0, activation=at.DECAY6, small=True)
        buffers = {at.R: r, at.W: decay, at.K: k, at.V: v, at.GATE: gate, at.Y: y}
        vectors = [*pair(w, att + "ln_x"), w[att + "time_faaaa"]]
        program.heads6(buffers, vectors, spec.heads, spec.head_size, layer)
        program.product(y, w[att + "output.weight"], x, adds=True, count=count)
        channel.add(program, w, block, x, [w[f"{block}ffn.time_maa_{letter}"] for letter in "kr"], layer)
    end(program, spec, w, x, head)
    return program
