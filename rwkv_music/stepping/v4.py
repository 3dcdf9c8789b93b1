"""RWKV-4 as a program; the formulas are those of `rwkv_music.model.v4`."""

from collections.abc import Mapping

from torch import Tensor

from rwkv_music.model.v4 import Rwkv4Spec
from rwkv_music.stepping.parts import ChannelMix, begin, end, pair, rest
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.program import Program


def write(spec: Rwkv4Spec, w: Mapping[str, Tensor], dtype: str) -> Program:
    """The program over weights of official names. Raises KernelError for sizes it cannot take."""
    program, c = Program(dtype), spec.width
    x, head = begin(program, spec, w)
    normed, mixed = program.buffer(c), program.buffer(c, 3)
    r, k, v, y = (program.buffer(c) for _ in range(4))
    channel = ChannelMix(program, spec)
    for layer in range(spec.layers):
        block, att = f"blocks.{layer}.", f"blocks.{layer}.att."
        count = rest(spec, layer)
        program.norm(x, normed, pair(w, block + "ln1"), at.TIME_SHIFT, layer)
        mixes = [1 - w[f"{att}time_mix_{letter}"].float() for letter in "kvr"]
        program.mix(normed, mixed, mixes, c, at.TIME_SHIFT, layer)
        with program.together():
            program.product(mixed, w[att + "key.weight"], k)
            program.product(mixed + c, w[att + "value.weight"], v)
            program.product(mixed + 2 * c, w[att + "receptance.weight"], r, activation=at.SIGMOID, count=count)
        vectors = [-w[att + "time_decay"].float().exp(), w[att + "time_first"]]
        program.heads4({at.R: r, at.K: k, at.V: v, at.Y: y}, vectors, c, layer)
        program.product(y, w[att + "output.weight"], x, adds=True, count=count)
        mixes = [1 - w[f"{block}ffn.time_mix_{letter}"].float() for letter in "kr"]
        channel.add(program, w, block, x, mixes, layer)
    end(program, spec, w, x, head)
    return program
