"""RWKV-7 "Goose" (x070): names and shapes of its tensors, and its whole forward pass.

Source of the formulas: "RWKV-7 Goose with Expressive Dynamic State Evolution" (arXiv 2503.14456) and the reference
implementation that goes with it. Letters: B pieces, T tokens, C channels, H heads, N channels a head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music.model.layers import Prefixed, low_rank
from rwkv_music.model.spec import Shapes, Spec, count_layers, dimensions
from rwkv_music.model.state import State
from rwkv_music_kernels.contract import LEAST_LOG_DECAY, Kernels


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


class Rwkv7:
    """The model. It holds its weights by their official names and changes neither them nor a state it is given.

    The residual stream, norms, decay and state are float32; matrix products run in the type of the matrices.
    """

    def __init__(self, spec: Rwkv7Spec, weights: Mapping[str, Tensor], kernels: Kernels):
        self.spec = spec
        self.weights = weights
        self.kernels = kernels

    def forward(
        self, ids: Tensor, state: State, drop: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """Read tokens after what `state` remembers.

        ids: (B, T) int64, T >= 1; state: of B pieces; drop: applied to the output of every mix while training (dropout).
        Returns logits (B, T, V) float32 (bfloat16 under autocast) and the state after the last token.
        """
        w = Prefixed(self.weights, "")
        x = w.norm(F.embedding(ids, w["emb.weight"]).float(), "blocks.0.ln0")
        v_first: Tensor | None = None
        shifts, channel_shifts, wkvs = [], [], []
        for layer in range(self.spec.layers):
            block = f"blocks.{layer}."
            normed = w.norm(x, block + "ln1")
            out, wkv, v_first = self._time_mix(
                Prefixed(self.weights, block + "att."), normed, state.time_shift[layer], state.wkv[layer], v_first
            )
            x = x + (drop(out) if drop else out)
            shifts.append(normed[:, -1])
            wkvs.append(wkv)
            normed = w.norm(x, block + "ln2")
            out = self._channel_mix(Prefixed(self.weights, block + "ffn."), normed, state.channel_shift[layer])
            x = x + (drop(out) if drop else out)
            channel_shifts.append(normed[:, -1])
        logits = self.kernels.linear(w.norm(x, "ln_out"), w["head.weight"])
        return logits, State(torch.stack(shifts), torch.stack(channel_shifts), torch.stack(wkvs))

    def _time_mix(
        self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor, v_first: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x: (B, T, C), last: (B, C), wkv: (B, H, N, N). Returns the output like x, the new wkv, and layer 0's v."""
        heads = (*x.shape[:2], self.spec.heads, self.spec.head_size)
        mixes = [p.vector(f"x_{letter}") for letter in "rwkvag"]
        xr, xw, xk, xv, xa, xg = self.kernels.shift_mix(x, last, mixes)

        r, k, v = (
            self.kernels.linear(xr, p["receptance.weight"]),
            self.kernels.linear(xk, p["key.weight"]),
            self.kernels.linear(xv, p["value.weight"]),
        )
        decay = p["w0"] + low_rank(self.kernels, xw, p["w1"], p["w2"], torch.tanh)
        w = LEAST_LOG_DECAY * torch.sigmoid(decay.float())
        rate = torch.sigmoid(p["a0"] + low_rank(self.kernels, xa, p["a1"], p["a2"]))
        gate = low_rank(self.kernels, xg, p["g1"], p["g2"], torch.sigmoid)
        if v_first is None:
            v_first = v
        else:
            v = torch.lerp(
                v.float(),
                v_first.float(),
                torch.sigmoid(p["v0"] + low_rank(self.kernels, xv, p["v1"], p["v2"])).float(),
            )

        k, removed, put_back = self.kernels.removal_key(k, rate, p.vector("k_k"), p.vector("k_a"), self.spec.heads)
        r, w, v = (z.float().view(heads) for z in (r, w, v))
        y, wkv = self.kernels.wkv7(r, w, k, v, removed, put_back, wkv)

        bonus = self.kernels.bonus(r, k, v, p["r_k"])
        y = self.kernels.read_out(y, p["ln_x.weight"], p["ln_x.bias"], gate, bonus)
        return self.kernels.linear(y, p["output.weight"]), wkv, v_first

    def _channel_mix(self, p: Prefixed, x: Tensor, last: Tensor) -> Tensor:
        """x: (B, T, C), last: (B, C). Returns the output like x."""
        (xk,) = self.kernels.shift_mix(x, last, [p.vector("x_k")])
        return self.kernels.linear(
            self.kernels.squared_relu(self.kernels.linear(xk, p["key.weight"])), p["value.weight"]
        )
