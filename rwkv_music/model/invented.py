"""Random weights of any version and size: to measure speed and to test loaders with, never to be listened to."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rwkv_music.model.initial import standard_spec as standard_spec
from rwkv_music.model.spec import Spec
from rwkv_music.model.versions import tensor_shapes


class RandomWeights(Mapping[str, Tensor]):
    """Every tensor of a model by official name, each made when it is asked for, the same one every time.

    Norms are near one, mixes within 0 and 1, decays neither forget nor keep all, and logits have a spread of about one.
    """

    def __init__(self, spec: Spec, seed: int = 0, dtype: torch.dtype = torch.float32):
        self.spec = spec
        self.seed = seed
        self.dtype = dtype
        self.shapes = tensor_shapes(spec)

    def __getitem__(self, name: str) -> Tensor:
        order = list(self.shapes).index(name)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + order)
        return _random(name, self.shapes[name], generator).to(self.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    leaf = name.split(".", 2)[-1] if name.startswith("blocks.") else name
    if "ln" in leaf:
        return 1 + 0.1 * noise if leaf.endswith("weight") else 0.1 * noise
    if leaf.startswith(("att.x_", "ffn.x_")) or "time_mix_" in leaf or ("time_maa_" in leaf and shape[0] == 1):
        return torch.sigmoid(noise)
    if leaf == "emb.weight":
        return 0.4 * noise
    if leaf.endswith(".weight"):
        return noise / math.sqrt(shape[1])
    if (
        len(shape) > 1
        and min(shape[-2:]) > 1
        and leaf != "att.r_k"
        and "faaaa" not in leaf
        and "decay" not in leaf[-5:]
    ):
        return 0.5 * noise / math.sqrt(shape[-2])
    if leaf == "att.time_decay":
        return -2 + 1.5 * noise
    if leaf in ("att.k_k", "att.k_a"):
        return 0.8 + 0.1 * noise
    return 0.4 * noise
