"""RWKV-5 "Eagle" in its three forms, 5.0, 5.1 and 5.2: names and shapes of their tensors, and their forward passes.

Source of the formulas: "Eagle and Finch: RWKV with Matrix-Valued States" (arXiv 2404.05892) and the implementations that
go with it. Letters: B pieces, T tokens, C channels, H heads, N channels a head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music.model.layers import Prefixed
from rwkv_music.model.spec import ModelError, Shapes, Spec, count_layers, dimensions
from rwkv_music.model.state import State
from rwkv_music.model.v4 import channel_mix, channel_mix_shapes
from rwkv_music_kernels.contract import Kernels


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


class Rwkv50:
    """RWKV-5.0. It holds its weights by their official names and changes neither them nor a state it is given.

    The residual stream, norms, decay and state are float32; matrix products run in the type of the matrices.
    """

    def __init__(self, spec: Rwkv5Spec, weights: Mapping[str, Tensor], kernels: Kernels):
        self.spec = spec
        self.weights = weights
        self.kernels = kernels

    def forward(
        self, ids: Tensor, state: State, drop: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """See `Rwkv7.forward`."""
        w = Prefixed(self.weights, "")
        x = w.norm(F.embedding(ids, w["emb.weight"]).float(), "blocks.0.ln0")
        shifts, channel_shifts, wkvs = [], [], []
        for layer in range(self.spec.layers):
            block = f"blocks.{layer}."
            normed = w.norm(x, block + "ln1")
            att = Prefixed(self.weights, block + "att.")
            out, wkv = self._time_mix(att, normed, state.time_shift[layer], state.wkv[layer])
            x = x + (drop(out) if drop else out)
            shifts.append(normed[:, -1])
            wkvs.append(wkv)
            normed = w.norm(x, block + "ln2")
            out = channel_mix(self.kernels, Prefixed(self.weights, block + "ffn."), normed, state.channel_shift[layer])
            x = x + (drop(out) if drop else out)
            channel_shifts.append(normed[:, -1])
        logits = self.kernels.linear(w.norm(x, "ln_out"), w["head.weight"])
        return logits, State(torch.stack(shifts), torch.stack(channel_shifts), torch.stack(wkvs))

    def _time_mix(self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, T, C), last: (B, C), wkv: (B, H, N, N). Returns the output like x, and the new wkv."""
        xk, xv, xr = self.kernels.shift_mix(x, last, [1 - p.vector(f"time_mix_{letter}") for letter in "kvr"])
        y, wkv = self._recur(p, xr, xk, xv, wkv)
        y = self.kernels.read_out(y, p["ln_x.weight"], p["ln_x.bias"], None)
        return self.kernels.linear(y, p["output.weight"]), wkv

    def _recur(self, p: Prefixed, xr: Tensor, xk: Tensor, xv: Tensor, wkv: Tensor) -> tuple[Tensor, Tensor]:
        """The heads (B, T, H, N) before their norm, and the new wkv. A decay or bonus of a head is that of its channels."""
        heads = (*xr.shape[:2], self.spec.heads, self.spec.head_size)
        r, k, v = (
            self.kernels.linear(x, p[name + ".weight"]).float().view(heads)
            for x, name in ((xr, "receptance"), (xk, "key"), (xv, "value"))
        )
        by_head = (self.spec.heads, -1)
        w = -p["time_decay"].float().exp().view(by_head).expand(heads)
        u = p[self.spec.bonus].float().view(by_head)
        u = (u.exp() if self.spec.bonus == "time_first" else u).expand(heads[2:])
        return self.kernels.wkv6(r, k, v, w, u, wkv)


class Rwkv51(Rwkv50):
    """RWKV-5.1: as 5.0, and what leaves the time mix is gated."""

    def _time_mix(self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor) -> tuple[Tensor, Tensor]:
        """See `Rwkv50._time_mix`."""
        xk, xv, xr, xg = self.kernels.shift_mix(x, last, [1 - p.vector(f"time_mix_{letter}") for letter in "kvrg"])
        y, wkv = self._recur(p, xr, xk, xv, wkv)
        gate = F.silu(self.kernels.linear(xg, p["gate.weight"]))
        y = self.kernels.read_out(y, p["ln_x.weight"], p["ln_x.bias"], gate)
        return self.kernels.linear(y, p["output.weight"]), wkv


class Rwkv52(Rwkv51):
    """RWKV-5.2: as 5.1, with a decay and a bonus for every channel of a head (time_decay and time_faaaa are (H, N))."""
