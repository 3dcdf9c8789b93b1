"""RWKV-4 "Dove": names and shapes of its tensors, and its whole forward pass.

Source of the formulas: "RWKV: Reinventing RNNs for the Transformer Era" (arXiv 2305.13048) and the implementation that
goes with it. Letters: B pieces, T tokens, C channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music.model.layers import Prefixed
from rwkv_music.model.spec import Shapes, Spec, count_layers, dimensions
from rwkv_music.model.state import State
from rwkv_music_kernels.contract import NO_LOGARITHM, Kernels


@dataclass(frozen=True)
class Rwkv4Spec(Spec):
    """Every channel is a head of its own."""

    def blank_memory(self, batch: int, device: str | torch.device = "cpu") -> Tensor:
        """(L, B, 3, C) float32: two sums of nothing, and the exponent they are scaled by."""
        memory = torch.zeros(self.layers, batch, 3, self.width, device=device)
        memory[:, :, 2] = NO_LOGARITHM
        return memory


def read_spec(shapes: Shapes) -> Rwkv4Spec:
    """The dimensions of RWKV-4 tensors. Raises ModelError."""
    vocabulary, width = dimensions(shapes, "emb.weight", 2)
    return Rwkv4Spec(
        version="4",
        layers=count_layers(shapes),
        width=width,
        heads=width,
        head_size=1,
        ffn=dimensions(shapes, "blocks.0.ffn.key.weight", 2)[0],
        vocabulary=vocabulary,
    )


def tensor_shapes(spec: Rwkv4Spec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the model uses, as official checkpoints have them."""
    c, f, v = spec.width, spec.ffn, spec.vocabulary
    shapes: dict[str, tuple[int, ...]] = {"emb.weight": (v, c), "head.weight": (v, c)}
    norms = ["ln_out", "blocks.0.ln0"]
    for layer in range(spec.layers):
        block = f"blocks.{layer}."
        norms += [block + "ln1", block + "ln2"]
        shapes |= {block + "att.time_decay": (c,), block + "att.time_first": (c,)}
        shapes |= {f"{block}att.time_mix_{letter}": (1, 1, c) for letter in "kvr"}
        shapes |= {f"{block}att.{name}.weight": (c, c) for name in ("key", "value", "receptance", "output")}
        shapes |= channel_mix_shapes(block + "ffn.", c, f)
    return shapes | {f"{norm}.{leaf}": (c,) for norm in norms for leaf in ("weight", "bias")}


def channel_mix_shapes(ffn: str, c: int, f: int) -> dict[str, tuple[int, ...]]:
    """The tensors of RWKV-4's and RWKV-5's channel mix."""
    mixes = {f"{ffn}time_mix_{letter}": (1, 1, c) for letter in "kr"}
    return {**mixes, ffn + "key.weight": (f, c), ffn + "receptance.weight": (c, c), ffn + "value.weight": (c, f)}


class Rwkv4:
    """The model. It holds its weights by their official names and changes neither them nor a state it is given.

    The residual stream, norms, keys, values and state are float32; matrix products run in the type of the matrices.
    """

    def __init__(self, spec: Rwkv4Spec, weights: Mapping[str, Tensor], kernels: Kernels):
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
        """x: (B, T, C), last: (B, C), wkv: (B, 3, C). Returns the output like x, and the new wkv."""
        xk, xv, xr = self.kernels.shift_mix(x, last, [1 - p.vector(f"time_mix_{letter}") for letter in "kvr"])
        r = torch.sigmoid(self.kernels.linear(xr, p["receptance.weight"]))
        k, v = self.kernels.linear(xk, p["key.weight"]).float(), self.kernels.linear(xv, p["value.weight"]).float()
        y, wkv = self.kernels.wkv4(k, v, -p["time_decay"].float().exp(), p["time_first"].float(), wkv)
        return self.kernels.linear(r * y, p["output.weight"]), wkv


def channel_mix(kernels: Kernels, p: Prefixed, x: Tensor, last: Tensor) -> Tensor:
    """RWKV-4's and RWKV-5's; their time_mix is the share of the token itself. x: (B, T, C), last: (B, C)."""
    xk, xr = kernels.shift_mix(x, last, [1 - p.vector("time_mix_k"), 1 - p.vector("time_mix_r")])
    k = kernels.linear(kernels.squared_relu(kernels.linear(xk, p["key.weight"])), p["value.weight"])
    return torch.sigmoid(kernels.linear(xr, p["receptance.weight"])) * k
