"""RWKV-6 "Finch": names and shapes of its tensors, and its whole forward pass.

Source of the formulas: "Eagle and Finch: RWKV with Matrix-Valued States" (arXiv 2404.05892) and the implementation that
goes with it. Letters: B pieces, T tokens, C channels, H heads, N channels a head, M rank of the mixing.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music.model.blocks import Blocks
from rwkv_music.model.layers import Prefixed, low_rank, wide
from rwkv_music.model.spec import ModelError, Shapes, Spec, count_layers, dimensions

# The order in which time_maa_w1 and time_maa_w2 hold the five mixes.
MIXES = "wkvrg"


@dataclass(frozen=True)
class Rwkv6Spec(Spec):
    """The ranks of the two low-rank projections, besides what all versions have."""

    mix_rank: int
    decay_rank: int


def read_spec(shapes: Shapes) -> Rwkv6Spec:
    """The dimensions of RWKV-6 tensors. Raises ModelError."""
    vocabulary, width = dimensions(shapes, "emb.weight", 2)
    heads, head_size = dimensions(shapes, "blocks.0.att.time_faaaa", 2)
    ranks = dimensions(shapes, "blocks.0.att.time_maa_w1", 2)[1]
    if ranks % len(MIXES):
        raise ModelError(f"'blocks.0.att.time_maa_w1' has {ranks} columns, expected a multiple of {len(MIXES)}")
    return Rwkv6Spec(
        version="6",
        layers=count_layers(shapes),
        width=width,
        heads=heads,
        head_size=head_size,
        ffn=dimensions(shapes, "blocks.0.ffn.key.weight", 2)[0],
        vocabulary=vocabulary,
        mix_rank=ranks // len(MIXES),
        decay_rank=dimensions(shapes, "blocks.0.att.time_decay_w1", 2)[1],
    )


def tensor_shapes(spec: Rwkv6Spec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the model uses, as official checkpoints have them."""
    c, f, v, m, d = spec.width, spec.ffn, spec.vocabulary, spec.mix_rank, spec.decay_rank
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (v, c), "head.weight": (v, c)}
    norms = ["ln_out", "blocks.0.ln0"]
    for layer in range(spec.layers):
        block = f"blocks.{layer}."
        att, ffn = block + "att.", block + "ffn."
        norms += [block + "ln1", block + "ln2", att + "ln_x"]
        shapes |= {f"{att}time_maa_{letter}": (1, 1, c) for letter in "x" + MIXES}
        shapes |= {att + "time_maa_w1": (c, len(MIXES) * m), att + "time_maa_w2": (len(MIXES), m, c)}
        shapes |= {att + "time_decay": (1, 1, c), att + "time_decay_w1": (c, d), att + "time_decay_w2": (d, c)}
        shapes[att + "time_faaaa"] = (spec.heads, spec.head_size)
        shapes |= {f"{att}{name}.weight": (c, c) for name in ("receptance", "key", "value", "output", "gate")}
        shapes |= {f"{ffn}time_maa_{letter}": (1, 1, c) for letter in "kr"}
        shapes |= {ffn + "key.weight": (f, c), ffn + "receptance.weight": (c, c), ffn + "value.weight": (c, f)}
    return shapes | {f"{norm}.{leaf}": (c,) for norm in norms for leaf in ("weight", "bias")}


class Rwkv6(Blocks[Rwkv6Spec]):
    """What RWKV-6 puts into the blocks. Decay and heads are float32 like the state."""

    def _time_mix(
        self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor, v_first: Tensor | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, None]:
        """See `Blocks._time_mix`. wkv: (B, H, N, N)."""
        heads = (*x.shape[:2], self.spec.heads, self.spec.head_size)
        xw, xk, xv, xr, xg = self.kernels.shift_mix(x, last, self._mixes(p, x, last, cu_seqlens), cu_seqlens)
        r, k, v = (
            wide(self.kernels.linear(z, p[name + ".weight"])).view(heads)
            for z, name in ((xr, "receptance"), (xk, "key"), (xv, "value"))
        )
        gate = F.silu(self.kernels.linear(xg, p["gate.weight"]))
        decay = p["time_decay"] + low_rank(self.kernels, xw, p["time_decay_w1"], p["time_decay_w2"], torch.tanh)
        w = -wide(decay).exp().view(heads)
        y, wkv = self.kernels.wkv6(r, k, v, w, wide(p["time_faaaa"]), wkv, cu_seqlens)
        y = self.kernels.read_out(y, p["ln_x.weight"], p["ln_x.bias"], gate)
        return self.kernels.linear(y, p["output.weight"]), wkv, None

    def _mixes(self, p: Prefixed, x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> list[Tensor]:
        """How much of the token before each of the five inputs takes, five times (B, T, C)."""
        (xx,) = self.kernels.shift_mix(x, last, [p.vector("time_maa_x")], cu_seqlens)
        hidden = torch.tanh(self.kernels.linear(xx, p["time_maa_w1"].T)).split(self.spec.mix_rank, dim=-1)
        moved = (self.kernels.linear(part, up.T) for part, up in zip(hidden, p["time_maa_w2"], strict=True))
        return [p.vector(f"time_maa_{letter}") + part for letter, part in zip(MIXES, moved, strict=True)]

    def _channel_mix(self, p: Prefixed, x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """See `Blocks._channel_mix`."""
        xk, xr = self.kernels.shift_mix(x, last, [p.vector("time_maa_k"), p.vector("time_maa_r")], cu_seqlens)
        k = self.kernels.linear(self.kernels.squared_relu(self.kernels.linear(xk, p["key.weight"])), p["value.weight"])
        return torch.sigmoid(self.kernels.linear(xr, p["receptance.weight"])) * k
