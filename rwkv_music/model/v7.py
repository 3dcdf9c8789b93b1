"""RWKV-7 "Goose" (x070): names and shapes of its tensors, and its whole forward pass.

Source of the formulas: "RWKV-7 Goose with Expressive Dynamic State Evolution" (arXiv 2503.14456) and the reference
implementation that goes with it. Letters: B pieces, T tokens, C channels, H heads, N channels a head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rwkv_music.model.blocks import Blocks
from rwkv_music.model.layers import Prefixed, low_rank, wide
from rwkv_music.model.spec import Shapes, Spec, count_layers, dimensions
from rwkv_music_kernels.contract import LEAST_LOG_DECAY


@dataclass(frozen=True)
class Rwkv7Spec(Spec):
    """The ranks of the four low-rank projections, besides what all versions have."""

    decay_rank: int
    rate_rank: int
    # 0 in a model of one layer, which mixes no values.
    value_rank: int
    gate_rank: int


def read_spec(shapes: Shapes) -> Rwkv7Spec:
    """The dimensions of RWKV-7 tensors. Raises ModelError."""
    layers = count_layers(shapes)
    vocabulary, width = dimensions(shapes, "emb.weight", 2)
    heads, head_size = dimensions(shapes, "blocks.0.att.r_k", 2)
    return Rwkv7Spec(
        version="7",
        layers=layers,
        width=width,
        heads=heads,
        head_size=head_size,
        ffn=dimensions(shapes, "blocks.0.ffn.key.weight", 2)[0],
        vocabulary=vocabulary,
        decay_rank=dimensions(shapes, "blocks.0.att.w1", 2)[1],
        rate_rank=dimensions(shapes, "blocks.0.att.a1", 2)[1],
        value_rank=dimensions(shapes, "blocks.1.att.v1", 2)[1] if layers > 1 else 0,
        gate_rank=dimensions(shapes, "blocks.0.att.g1", 2)[1],
    )


def tensor_shapes(spec: Rwkv7Spec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the model uses, as official checkpoints have them."""
    c, f, v = spec.width, spec.ffn, spec.vocabulary
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (v, c), "head.weight": (v, c)}
    norms = ["ln_out", "blocks.0.ln0"]
    for layer in range(spec.layers):
        block = f"blocks.{layer}."
        norms += [block + "ln1", block + "ln2", block + "att.ln_x"]
        vectors = ["x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "w0", "a0", "k_k", "k_a"]
        ranks = {"w": spec.decay_rank, "a": spec.rate_rank, "g": spec.gate_rank}
        if layer > 0:
            vectors.append("v0")
            ranks["v"] = spec.value_rank
        shapes |= {f"{block}att.{name}": (1, 1, c) for name in vectors}
        for letter, rank in ranks.items():
            shapes |= {f"{block}att.{letter}1": (c, rank), f"{block}att.{letter}2": (rank, c)}
        shapes[block + "att.r_k"] = (spec.heads, spec.head_size)
        shapes |= {f"{block}att.{name}.weight": (c, c) for name in ("receptance", "key", "value", "output")}
        shapes |= {block + "ffn.x_k": (1, 1, c), block + "ffn.key.weight": (f, c), block + "ffn.value.weight": (c, f)}
    for norm in norms:
        shapes |= {norm + ".weight": (c,), norm + ".bias": (c,)}
    return shapes


def unused_names(spec: Rwkv7Spec) -> set[str]:
    """Tensors that some checkpoints carry and no computation reads: layer 0 has no earlier value to mix with."""
    return {"blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2"}


class Rwkv7(Blocks[Rwkv7Spec]):
    """What RWKV-7 puts into the blocks. Decay and heads are float32 like the state."""

    def _time_mix(
        self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor, v_first: Tensor | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Blocks._time_mix`. wkv: (B, H, N, N)."""
        heads = (*x.shape[:2], self.spec.heads, self.spec.head_size)
        mixes = [p.vector(f"x_{letter}") for letter in "rwkvag"]
        xr, xw, xk, xv, xa, xg = self.kernels.shift_mix(x, last, mixes, cu_seqlens)

        r, k, v = (
            self.kernels.linear(xr, p["receptance.weight"]),
            self.kernels.linear(xk, p["key.weight"]),
            self.kernels.linear(xv, p["value.weight"]),
        )
        decay = p["w0"] + low_rank(self.kernels, xw, p["w1"], p["w2"], torch.tanh)
        w = LEAST_LOG_DECAY * torch.sigmoid(wide(decay))
        rate = torch.sigmoid(p["a0"] + low_rank(self.kernels, xa, p["a1"], p["a2"]))
        gate = low_rank(self.kernels, xg, p["g1"], p["g2"], torch.sigmoid)
        if v_first is None:
            v_first = v
        else:
            v = torch.lerp(
                wide(v),
                wide(v_first),
                wide(torch.sigmoid(p["v0"] + low_rank(self.kernels, xv, p["v1"], p["v2"]))),
            )

        k, removed, put_back = self.kernels.removal_key(k, rate, p.vector("k_k"), p.vector("k_a"), self.spec.heads)
        r, w, v = (wide(z).view(heads) for z in (r, w, v))
        y, wkv = self.kernels.wkv7(r, w, k, v, removed, put_back, wkv, cu_seqlens)

        bonus = self.kernels.bonus(r, k, v, p["r_k"])
        y = self.kernels.read_out(y, p["ln_x.weight"], p["ln_x.bias"], gate, bonus)
        return self.kernels.linear(y, p["output.weight"]), wkv, v_first

    def _channel_mix(self, p: Prefixed, x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """See `Blocks._channel_mix`."""
        (xk,) = self.kernels.shift_mix(x, last, [p.vector("x_k")], cu_seqlens)
        return self.kernels.linear(
            self.kernels.squared_relu(self.kernels.linear(xk, p["key.weight"])), p["value.weight"]
        )
