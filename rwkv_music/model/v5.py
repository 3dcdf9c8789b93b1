"""RWKV-5 "Eagle" in its three forms, 5.0, 5.1 and 5.2: names and shapes of their tensors, and their forward passes.

Source of the formulas: "Eagle and Finch: RWKV with Matrix-Valued States" (arXiv 2404.05892) and the implementations that
go with it. Letters: B pieces, T tokens, C channels, H heads, N channels a head.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from rwkv_music.model.blocks import Blocks
from rwkv_music.model.layers import Prefixed, wide
from rwkv_music.model.spec import ModelError, Shapes, Spec, count_layers, dimensions
from rwkv_music.model.v4 import channel_mix, channel_mix_shapes


@dataclass(frozen=True)
class Rwkv5Spec(Spec):
    """RWKV-5.0: one decay a head, no gate. 5.1: with a gate. 5.2: a decay for every channel."""

    # The tensor of the newest token's bonus: "time_faaaa", or "time_first", which holds its logarithm.
    bonus: str


def read_spec(shapes: Shapes) -> Rwkv5Spec:
    """The dimensions of RWKV-5 tensors. Raises ModelError."""
    vocabulary, width = dimensions(shapes, "emb.weight", 2)
    decay = shapes["blocks.0.att.time_decay"]
    if len(decay) < 1 or min(decay) < 1:
        raise ModelError(f"'blocks.0.att.time_decay' has shape {list(decay)}, expected a number for each head")
    gated = "blocks.0.att.gate.weight" in shapes
    by_channel = len(decay) > 1 and decay[1] > 1
    return Rwkv5Spec(
        version="5.2" if gated and by_channel else "5.1" if gated else "5.0",
        layers=count_layers(shapes),
        width=width,
        heads=decay[0],
        head_size=width // decay[0],
        ffn=dimensions(shapes, "blocks.0.ffn.key.weight", 2)[0],
        vocabulary=vocabulary,
        bonus="time_first" if "blocks.0.att.time_first" in shapes else "time_faaaa",
    )


def tensor_shapes(spec: Rwkv5Spec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the model uses, as official checkpoints have them."""
    c, f, v = spec.width, spec.ffn, spec.vocabulary
    gate = [] if spec.version == "5.0" else ["gate"]
    channels = (spec.heads, spec.head_size) if spec.version == "5.2" else (spec.heads,)
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (v, c), "head.weight": (v, c)}
    norms = ["ln_out", "blocks.0.ln0"]
    for layer in range(spec.layers):
        block = f"blocks.{layer}."
        norms += [block + "ln1", block + "ln2", block + "att.ln_x"]
        shapes |= {f"{block}att.time_mix_{letter}": (1, 1, c) for letter in ("kvrg" if gate else "kvr")}
        shapes |= {block + "att.time_decay": channels, f"{block}att.{spec.bonus}": channels}
        shapes |= {f"{block}att.{name}.weight": (c, c) for name in ("receptance", "key", "value", "output", *gate)}
        shapes |= channel_mix_shapes(block + "ffn.", c, f)
    return shapes | {f"{norm}.{leaf}": (c,) for norm in norms for leaf in ("weight", "bias")}


class Rwkv50(Blocks[Rwkv5Spec]):
    """What RWKV-5.0 puts into the blocks. Decay and heads are float32 like the state."""

    def _time_mix(
        self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor, v_first: Tensor | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, None]:
        """See `Blocks._time_mix`. wkv: (B, H, N, N)."""
        mixes = [1 - p.vector(f"time_mix_{letter}") for letter in "kvr"]
        xk, xv, xr = self.kernels.shift_mix(x, last, mixes, cu_seqlens)
        y, wkv = self._recur(p, xr, xk, xv, wkv, cu_seqlens)
        y = self.kernels.read_out(y, p["ln_x.weight"], p["ln_x.bias"], None)
        return self.kernels.linear(y, p["output.weight"]), wkv, None

    def _channel_mix(self, p: Prefixed, x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """See `Blocks._channel_mix`."""
        return channel_mix(self.kernels, p, x, last, cu_seqlens)

    def _recur(
        self, p: Prefixed, xr: Tensor, xk: Tensor, xv: Tensor, wkv: Tensor, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The heads (B, T, H, N) before their norm, and the new wkv. A decay or bonus of a head is that of its channels."""
        heads = (*xr.shape[:2], self.spec.heads, self.spec.head_size)
        r, k, v = (
            wide(self.kernels.linear(x, p[name + ".weight"])).view(heads)
            for x, name in ((xr, "receptance"), (xk, "key"), (xv, "value"))
        )
        by_head = (self.spec.heads, -1)
        w = -wide(p["time_decay"]).exp().view(by_head).expand(heads)
        u = wide(p[self.spec.bonus]).view(by_head)
        u = (u.exp() if self.spec.bonus == "time_first" else u).expand(heads[2:])
        return self.kernels.wkv6(r, k, v, w, u, wkv, cu_seqlens)


class Rwkv51(Rwkv50):
    """RWKV-5.1: as 5.0, and what leaves the time mix is gated."""

    def _time_mix(
        self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor, v_first: Tensor | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, None]:
        """See `Rwkv50._time_mix`."""
        mixes = [1 - p.vector(f"time_mix_{letter}") for letter in "kvrg"]
        xk, xv, xr, xg = self.kernels.shift_mix(x, last, mixes, cu_seqlens)
        y, wkv = self._recur(p, xr, xk, xv, wkv, cu_seqlens)
        gate = F.silu(self.kernels.linear(xg, p["gate.weight"]))
        y = self.kernels.read_out(y, p["ln_x.weight"], p["ln_x.bias"], gate)
        return self.kernels.linear(y, p["output.weight"]), wkv, None


class Rwkv52(Rwkv51):
    """RWKV-5.2: as 5.1, with a decay and a bonus for every channel of a head (time_decay and time_faaaa are (H, N))."""
