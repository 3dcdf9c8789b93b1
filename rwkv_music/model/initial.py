"""The official initialisation of RWKV-7 (RWKV-LM, RWKV-v7/train_temp)."""

import math

import torch
from torch import Tensor

from rwkv_music.model.v7 import Rwkv7Spec, tensor_shapes

# Linear maps that start at zero, so that every block starts as the identity.
ZERO = ("att.output.weight", "ffn.value.weight", "att.w1", "att.a1", "att.v1", "att.g1")
ORTHOGONAL_GAIN = {"att.receptance.weight": 1.0, "att.key.weight": 0.1, "att.value.weight": 1.0, "ffn.key.weight": 1.0}


def new_spec(layers: int, width: int, vocabulary: int, head_size: int = 64, ffn: int | None = None) -> Rwkv7Spec:
    """The dimensions of a new model; the ranks follow the official rule, ffn defaults to 4 times the width."""

    def rank(factor: float) -> int:
        return max(32, 32 * round(factor * math.sqrt(width) / 32))

    return Rwkv7Spec(
        version="7",
        layers=layers,
        width=width,
        heads=width // head_size,
        head_size=head_size,
        ffn=ffn or 4 * width,
        vocabulary=vocabulary,
        decay_rank=rank(2.5),
        rate_rank=rank(2.5),
        value_rank=rank(1.7) if layers > 1 else 0,
        gate_rank=rank(5),
    )


def initial_weights(spec: Rwkv7Spec, generator: torch.Generator) -> dict[str, Tensor]:
    """Every tensor of a model that has learned nothing yet, float32, by official name."""
    weights: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(spec).items():
        if name.startswith("blocks.") and "ln0" not in name:
            _, layer, leaf = name.split(".", 2)
            weights[name] = _block_tensor(leaf, shape, int(layer), spec, generator)
        elif name == "emb.weight":
            weights[name] = torch.empty(shape).uniform_(-1e-4, 1e-4, generator=generator)
        elif name == "head.weight":
            gain = 0.5 * math.sqrt(max(1.0, spec.vocabulary / spec.width))
            weights[name] = torch.nn.init.orthogonal_(torch.empty(shape), gain, generator)
        else:
            weights[name] = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
    return weights


def _block_tensor(leaf: str, shape: tuple[int, ...], layer: int, spec: Rwkv7Spec, generator: torch.Generator) -> Tensor:
    if leaf in ZERO:
        return torch.zeros(shape)
    if leaf in ORTHOGONAL_GAIN:
        return torch.nn.init.orthogonal_(torch.empty(shape), ORTHOGONAL_GAIN[leaf], generator)
    if leaf in ("att.w2", "att.a2", "att.v2", "att.g2"):
        gain = 0.1 * max(1.0, math.sqrt(shape[0] / shape[1]))
        return torch.nn.init.orthogonal_(torch.empty(shape), gain, generator)
    if leaf == "att.ln_x.weight":
        return torch.full(shape, ((1 + layer) / spec.layers) ** 0.7)
    if leaf.startswith(("ln", "att.ln")):
        return torch.full(shape, 1.0 if leaf.endswith("weight") else 0.0)
    return _vector(leaf, layer, spec).reshape(shape).float()


def _vector(leaf: str, layer: int, spec: Rwkv7Spec) -> Tensor:
    """The deterministic vectors over the C channels n, in float64; depth runs from 0 to 1 over the layers."""
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
