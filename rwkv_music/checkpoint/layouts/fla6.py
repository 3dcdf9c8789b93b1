"""RWKV-6 of flash-linear-attention (`RWKV6ForCausalLM`): its five mixes run r, w, k, v, g, officially w, k, v, r, g.

Its group norm adds `norm_eps` (1e-5) to a variance to which the official one adds 64e-5. No file tells which of the two
its weights were made for; like that library's own converter, this one leaves them as they are.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from rwkv_music.checkpoint.layouts.fla import BLOCK, NORMS, Table, config_of_both, read_recipes, row, write_recipes
from rwkv_music.checkpoint.layouts.recipe import FLAT_VECTOR, SAME, SWAPPED, Change, Contents, Layout, Recipe

OFFICIAL_ORDER = "wkvrg"
ORDER = "rwkvg"
MIXES = "attn.x_bias"


def _reorder(groups: Tensor, source: str, target: str) -> Tensor:
    """The five groups along the first dimension, put from one order into another."""
    return torch.stack([groups[source.index(letter)] for letter in target])


def _read_down(weight: Tensor) -> Tensor:
    """(5M, C) here, (C, 5M) officially."""
    groups = _reorder(weight.reshape(5, -1, weight.shape[1]), ORDER, OFFICIAL_ORDER)
    return groups.reshape(weight.shape).t()


def _write_down(weight: Tensor) -> Tensor:
    groups = _reorder(weight.t().reshape(5, -1, weight.shape[0]), OFFICIAL_ORDER, ORDER)
    return groups.reshape(weight.shape[1], weight.shape[0])


def _read_up(weight: Tensor) -> Tensor:
    """(C, 5M) here, (5, M, C) officially."""
    return _reorder(weight.t().reshape(5, -1, weight.shape[0]), ORDER, OFFICIAL_ORDER)


def _write_up(weight: Tensor) -> Tensor:
    return _reorder(weight, OFFICIAL_ORDER, ORDER).reshape(-1, weight.shape[2]).t()


PROJECTIONS = {"receptance": "r_proj", "key": "k_proj", "value": "v_proj", "gate": "g_proj"}
TABLE: Table = {
    **NORMS,
    **{f"att.{name}.weight": (f"attn.{here}.linear.weight", SAME) for name, here in PROJECTIONS.items()},
    "att.output.weight": ("attn.o_proj.weight", SAME),
    "att.time_maa_x": ("attn.x_proj.0.mu", FLAT_VECTOR),
    "att.time_maa_w1": ("attn.x_proj.0.linear.weight", Change(_read_down, _write_down)),
    "att.time_maa_w2": ("attn.x_proj.2.weight", Change(_read_up, _write_up)),
    "att.time_decay": ("attn.w_proj.linear.lora.2.bias", FLAT_VECTOR),
    "att.time_decay_w1": ("attn.w_proj.linear.lora.0.weight", SWAPPED),
    "att.time_decay_w2": ("attn.w_proj.linear.lora.2.weight", SWAPPED),
    "att.time_faaaa": ("attn.bonus", SAME),
    "ffn.time_maa_k": ("ffn.key.mu", FLAT_VECTOR),
    "ffn.time_maa_r": ("ffn.receptance.mu", FLAT_VECTOR),
    "ffn.key.weight": ("ffn.key.linear.weight", SAME),
    "ffn.receptance.weight": ("ffn.receptance.linear.weight", SAME),
    "ffn.value.weight": ("ffn.value.weight", SAME),
}


def recipes(contents: Contents) -> dict[str, Recipe]:
    """Official tensors of a file in this layout."""
    made = read_recipes(contents, TABLE)
    for name, shape in contents.shapes.items():
        if name.endswith("." + MIXES) and shape[:1] == (len(ORDER),):
            del made[name]
            block = name.removesuffix(MIXES).replace("layers.", "blocks.", 1)
            for index, letter in enumerate(ORDER):
                made[f"{block}att.time_maa_{letter}"] = Recipe((name,), partial(row, index))
    return made


def written(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Recipe]:
    """Tensors of this layout from official ones. Raises KeyError."""
    mixes = {f"att.time_maa_{letter}" for letter in ORDER}
    alone = {name: shape for name, shape in shapes.items() if not (m := BLOCK.fullmatch(name)) or m[2] not in mixes}
    made = write_recipes(alone, TABLE)
    for layer in sorted({int(match[1]) for name in shapes if (match := BLOCK.fullmatch(name))}):
        sources = tuple(f"blocks.{layer}.att.time_maa_{letter}" for letter in ORDER)
        made[f"model.layers.{layer}.{MIXES}"] = Recipe(sources, _rows)
    return made


def _rows(*vectors: Tensor) -> Tensor:
    """The five mixes as (5, C)."""
    return torch.stack([vector.reshape(-1) for vector in vectors])


def config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """The config.json of a model of these official shapes."""
    return config_of_both(shapes) | {
        "architectures": ["RWKV6ForCausalLM"],
        "model_type": "rwkv6",
        "expand_k": 1.0,
        "expand_v": 1.0,
        "num_heads": shapes["blocks.0.att.time_faaaa"][0],
        "proj_low_rank_dim": shapes["blocks.0.att.time_maa_w2"][1],
        "gate_low_rank_dim": shapes["blocks.0.att.time_decay_w1"][1],
    }


def _fits(contents: Contents) -> bool:
    return "layers.0.attn.x_bias" in contents.shapes


FLA6 = Layout("fla-rwkv6", _fits, recipes)
