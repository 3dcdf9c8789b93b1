"""RWKV-4 "Dove": names and shapes of its tensors, and its whole forward pass.

Source of the formulas: "RWKV: Reinventing RNNs for the Transformer Era" (arXiv 2305.13048) and the implementation that
goes with it. Letters: B pieces, T tokens, C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rwkv_music.model.blocks import Blocks
from rwkv_music.model.layers import Prefixed, wide
from rwkv_music.model.spec import Shapes, Spec, count_layers, dimensions
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


class Rwkv4(Blocks[Rwkv4Spec]):
    """What RWKV-4 puts into the blocks. Keys and values are float32 like the state."""

    def _time_mix(
        self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor, v_first: Tensor | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, None]:
        """See `Blocks._time_mix`. wkv: (B, 3, C)."""
        mixes = [1 - p.vector(f"time_mix_{letter}") for letter in "kvr"]
        xk, xv, xr = self.kernels.shift_mix(x, last, mixes, cu_seqlens)
        r = torch.sigmoid(self.kernels.linear(xr, p["receptance.weight"]))
        k, v = wide(self.kernels.linear(xk, p["key.weight"])), wide(self.kernels.linear(xv, p["value.weight"]))
        y, wkv = self.kernels.wkv4(k, v, -wide(p["time_decay"]).exp(), wide(p["time_first"]), wkv, cu_seqlens)
        return self.kernels.linear(r * y, p["output.weight"]), wkv, None

    def _channel_mix(self, p: Prefixed, x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """See `Blocks._channel_mix`."""
        return channel_mix(self.kernels, p, x, last, cu_seqlens)


def channel_mix(kernels: Kernels, p: Prefixed, x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """RWKV-4's and RWKV-5's; their time_mix is the share of the token itself. x: (B, T, C), last: (B, C)."""
    xk, xr = kernels.shift_mix(x, last, [1 - p.vector("time_mix_k"), 1 - p.vector("time_mix_r")], cu_seqlens)
    k = kernels.linear(kernels.squared_relu(kernels.linear(xk, p["key.weight"])), p["value.weight"])
    return torch.sigmoid(kernels.linear(xr, p["receptance.weight"])) * k
