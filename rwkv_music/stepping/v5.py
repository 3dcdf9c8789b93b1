"""RWKV-5.0, 5.1 and 5.2 as a program; the formulas are those of `rwkv_music.model.v5`."""

from collections.abc import Mapping

from torch import Tensor

from rwkv_music.model.v5 import Rwkv5Spec
from rwkv_music.stepping.parts import ChannelMix, begin, end, pair, rest
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.program import Program


def write(spec: Rwkv5Spec, w: Mapping[str, Tensor], dtype: str) -> Program:
    """The program over weights of official names. Raises KernelError for sizes it cannot take."""
    program, c = Program(dtype), spec.width
    letters = "kvr" if spec.version == "5.0" else "kvrg"
    x, head = begin(program, spec, w)
    normed, mixed = program.buffer(c), program.buffer(c, 4)
    r, k, v, gate, y = (program.buffer(c) for _ in range(5))
    channel = ChannelMix(program, spec)
    for layer in range(spec.layers):
        block, att = f"blocks.{layer}.", f"blocks.{layer}.att."
        count = rest(spec, layer)
        program.norm(x, normed, pair(w, block + "ln1"), at.TIME_SHIFT, layer)
        mixes = [1 - w[f"{att}time_mix_{letter}"].float() for letter in letters]
        program.mix(normed, mixed, mixes, c, at.TIME_SHIFT, layer)
        with program.together():
            program.product(mixed, w[att + "key.weight"], k)
            program.product(mixed + c, w[att + "value.weight"], v)
            program.product(mixed + 2 * c, w[att + "receptance.weight"], r, count=count)
            if "g" in letters:
                program.product(mixed + 3 * c, w[att + "gate.weight"], gate, activation=at.SILU, count=count)
        buffers = {at.R: r, at.K: k, at.V: v, at.Y: y}
        if "g" in letters:
            buffers[at.GATE] = gate
        bonus = _channels(w[att + spec.bonus], spec)
        bonus = bonus.exp() if spec.bonus == "time_first" else bonus
        decay = (-_channels(w[att + "time_decay"], spec).exp()).exp()
        program.heads6(buffers, [*pair(w, att + "ln_x"), bonus], spec.heads, spec.head_size, layer, decay)
        program.product(y, w[att + "output.weight"], x, adds=True, count=count)
        mixes = [1 - w[f"{block}ffn.time_mix_{letter}"].float() for letter in "kr"]
        channel.add(program, w, block, x, mixes, layer)
    end(program, spec, w, x, head)
    return program


def _channels(by_head: Tensor, spec: Rwkv5Spec) -> Tensor:
    """A number for every channel of a head, (H, N) float32, from one for each or one for all."""
    return by_head.float().reshape(spec.heads, -1).expand(spec.heads, spec.head_size)
