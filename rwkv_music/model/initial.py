"""A model that has learned nothing yet: its official dimensions and its official initial weights, of every version.

Sources: RWKV-LM's trainers, RWKV-v4neo/src/model.py, RWKV-v5/src/model.py (5.0 to 6; 5.0 and 5.1 by its earlier states)
and RWKV-v7/train_temp. Letters: C channels, n the number of a channel, L layers.
"""

import math
from typing import Any

import torch
from torch import Tensor

from rwkv_music.model.spec import Spec
from rwkv_music.model.v4 import Rwkv4Spec
from rwkv_music.model.v5 import Rwkv5Spec
from rwkv_music.model.v6 import Rwkv6Spec
from rwkv_music.model.v7 import Rwkv7Spec
from rwkv_music.model.versions import tensor_shapes

# Gains of the orthogonal matrices of a block; 0 is a matrix of zeros, so that every block starts as the identity.
GAINS = {
    "att.receptance.weight": 1.0,
    "att.key.weight": 0.1,
    "att.value.weight": 1.0,
    "att.gate.weight": 0.1,
    "att.output.weight": 0.0,
    "ffn.key.weight": 1.0,
    "ffn.receptance.weight": 0.0,
    "ffn.value.weight": 0.0,
}
GAINS_OF_4 = {**GAINS, "att.receptance.weight": 0.0, "att.key.weight": 0.0}
# The embedding is even within this; RWKV-4's trainer takes its first learning rate, by default 6e-4.
EMBEDDING, EMBEDDING_OF_4 = 1e-4, 6e-4


def new_spec(layers: int, width: int, vocabulary: int, head_size: int = 64, ffn: int | None = None) -> Spec:
    """The dimensions of a new RWKV-7; see `standard_spec`."""
    return standard_spec("7", layers, width, vocabulary, head_size, ffn)


def standard_spec(
    version: str, layers: int, width: int, vocabulary: int, head_size: int = 64, ffn: int | None = None
) -> Spec:
    """The dimensions of a published model of that version: official ffn widths and ranks (RWKV-LM).

    version: "4", "5.0", "5.1", "5.2", "6" or "7". Raises ValueError for another.
    """
    every: dict[str, Any] = {"version": version, "layers": layers, "width": width, "vocabulary": vocabulary}
    every.update(heads=width // head_size, head_size=head_size, ffn=ffn or int(3.5 * width) // 32 * 32)
    if version == "4":
        every.update(heads=width, head_size=1, ffn=ffn or 4 * width)
        return Rwkv4Spec(**every)
    if version in ("5.0", "5.1", "5.2"):
        if version == "5.0":
            every["ffn"] = ffn or 4 * width
        return Rwkv5Spec(**every, bonus="time_first" if version == "5.0" else "time_faaaa")
    if version == "6":
        wide = 2 if width >= 4096 else 1
        return Rwkv6Spec(**every, mix_rank=32 * wide, decay_rank=64 * wide)
    if version == "7":
        ranks = {"decay_rank": 2.5, "rate_rank": 2.5, "value_rank": 1.7, "gate_rank": 5.0}
        every.update({name: max(32, 32 * round(factor * math.sqrt(width) / 32)) for name, factor in ranks.items()})
        every["ffn"] = ffn or 4 * width
        if layers == 1:
            every["value_rank"] = 0
        return Rwkv7Spec(**every)
    raise ValueError(f"there is no version {version!r}; choose 4, 5.0, 5.1, 5.2, 6 or 7")


def initial_weights(spec: Spec, generator: torch.Generator) -> dict[str, Tensor]:
    """Every tensor of a model that has learned nothing yet, float32, by official name."""
    weights: dict[str, Tensor] = {}
    old = spec.version == "4"
    for name, shape in tensor_shapes(spec).items():
        if name.startswith("blocks.") and "ln0" not in name:
            _, layer, leaf = name.split(".", 2)
            weights[name] = _block_tensor(leaf, shape, int(layer), spec, generator)
        elif name == "emb.weight":
            within = EMBEDDING_OF_4 if old else EMBEDDING
            weights[name] = torch.empty(shape).uniform_(-within, within, generator=generator)
        elif name == "head.weight":
            gain = 0.5 * math.sqrt(max(1.0, spec.vocabulary / spec.width))
            weights[name] = torch.nn.init.orthogonal_(torch.empty(shape), gain, generator)
        else:
            weights[name] = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
    return weights


def _block_tensor(leaf: str, shape: tuple[int, ...], layer: int, spec: Spec, generator: torch.Generator) -> Tensor:
    gains = GAINS_OF_4 if spec.version == "4" else GAINS
    if leaf in gains:
        # Only RWKV-4's trainer makes up for a matrix that is taller than wide.
        gain = gains[leaf] * (math.sqrt(max(1.0, shape[0] / shape[1])) if spec.version == "4" else 1.0)
        return torch.nn.init.orthogonal_(torch.empty(shape), gain, generator) if gain else torch.zeros(shape)
    if leaf in ("att.w1", "att.a1", "att.v1", "att.g1", "att.time_maa_w1", "att.time_decay_w1"):
        return torch.zeros(shape)
    if leaf in ("att.w2", "att.a2", "att.v2", "att.g2"):
        gain = 0.1 * max(1.0, math.sqrt(shape[0] / shape[1]))
        return torch.nn.init.orthogonal_(torch.empty(shape), gain, generator)
    if leaf in ("att.time_maa_w2", "att.time_decay_w2"):
        return torch.empty(shape).uniform_(-0.01, 0.01, generator=generator)
    if leaf == "att.ln_x.weight":
        return torch.full(shape, ((1 + layer) / spec.layers) ** 0.7)
    if leaf.startswith(("ln", "att.ln")):
        return torch.full(shape, 1.0 if leaf.endswith("weight") else 0.0)
    vector = _vector_of_7 if spec.version == "7" else _earlier_vector
    return vector(leaf, layer, spec, shape).reshape(shape).float()


def _vector_of_7(leaf: str, layer: int, spec: Spec, shape: tuple[int, ...]) -> Tensor:
    """RWKV-7's deterministic vectors over the C channels n, in float64; depth runs from 0 to 1 over the layers."""
    width, size = spec.width, spec.head_size
    depth = layer / max(1, spec.layers - 1)
    left = 1 - layer / spec.layers
    n = torch.arange(width, dtype=torch.float64)
    ramp = n / max(1, width - 1)
    line = ramp - 0.5
    zigzag = ((n % size) - (size - 1) / 2) / ((size - 1) / 2)
    zigzag = zigzag * zigzag.abs()

    def mix(exponent: float) -> Tensor:
        return 1 - (n / width) ** exponent

    match leaf:
        case "att.x_r" | "att.x_g":
            return mix(0.2 * left)
        case "att.x_w" | "att.x_a":
            return mix(0.9 * left)
        case "att.x_k" | "att.x_v":
            return mix(0.7 * left)
        case "ffn.x_k":
            return mix(left**4)
        case "att.w0":
            return -6 + 6 * ramp ** (1 + depth**0.3) + 0.5 + 2.5 * zigzag
        case "att.a0":
            return -0.19 + 0.3 * zigzag + 0.4 * line
        case "att.v0":
            return 0.73 - 0.4 * line
        case "att.k_k":
            return 0.71 - 0.1 * line
        case "att.k_a":
            return torch.full_like(n, 1.02)
        case "att.r_k":
            return torch.full_like(n, -0.04)
    raise AssertionError(f"no initial value is known for '{leaf}'")


def _earlier_vector(leaf: str, layer: int, spec: Spec, shape: tuple[int, ...]) -> Tensor:
    """The deterministic vectors of the versions before 7, in float64."""
    depth = layer / max(1, spec.layers - 1)
    left = 1 - layer / spec.layers
    share = torch.arange(spec.width, dtype=torch.float64) / spec.width
    # Of what stands for a channel, or in RWKV-5.0 and 5.1 for a head.
    count = math.prod(shape)
    n = torch.arange(count, dtype=torch.float64)
    ramp = n / max(1, count - 1)
    zigzag = (n + 1) % 3 - 1
    speed = ramp ** (0.7 + 1.3 * depth)
    # RWKV-6 counts the share of the token before, the others that of the token itself.
    if leaf.startswith("ffn.time_maa_"):
        return 1 - share ** (left**3)
    if leaf.startswith("ffn.time_mix_"):
        return share**left
    if leaf.startswith("att.time_maa_"):
        return 1 - _mix(leaf[-1], share, left, depth)
    if leaf.startswith("att.time_mix_"):
        return _mix(leaf[-1], share, left, depth)
    match leaf:
        case "att.time_decay":
            return -5 + 8 * speed if spec.version == "4" else -6 + 5 * speed
        case "att.time_first" if spec.version == "4":
            return math.log(0.3) + 0.5 * zigzag
        case "att.time_first":
            return torch.full_like(n, -3.0)
        case "att.time_faaaa":
            return depth * (1 - ramp) + (0.1 * zigzag if count == spec.width else 0.0)
    raise AssertionError(f"no initial value is known for '{leaf}'")


def _mix(letter: str, share: Tensor, exponent: float, depth: float) -> Tensor:
    """How much of a token itself goes into what `letter` stands for."""
    if letter == "v":
        return share**exponent + 0.3 * depth
    return share ** (0.5 * exponent if letter in "rg" else exponent)
