"""What RWKV-6 and RWKV-7 of flash-linear-attention have in common: modules, norms, and tables read in both directions."""

import re
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from rwkv_music.checkpoint.layouts.recipe import SAME, Change, Contents, Recipe

# Leaf of an official block to leaf of a layer here, and what happens on the way.
Table: TypeAlias = Mapping[str, tuple[str, Change]]

BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
LAYER = re.compile(r"layers\.(\d+)\.(.+)")
WHOLE = {
    "emb.weight": "embeddings.weight",
    "head.weight": "lm_head.weight",
    "ln_out.weight": "norm.weight",
    "ln_out.bias": "norm.bias",
}
NORMS = {
    f"{official}.{kind}": (f"{name}.{kind}", SAME)
    for official, name in {"ln0": "pre_norm", "ln1": "attn_norm", "ln2": "ffn_norm", "att.ln_x": "attn.g_norm"}.items()
    for kind in ("weight", "bias")
}
# LayerNorms, whose biases `norm_bias: false` leaves out.
LAYER_NORM = re.compile(r"(layers\.\d+\.(?:pre|attn|ffn)_norm|norm)\.(weight|bias)")


def read_recipes(contents: Contents, table: Table) -> dict[str, Recipe]:
    """Official tensors of what the table knows; all else under its own name."""
    back = {leaf: (official, change) for official, (leaf, change) in table.items()}
    whole = {name: official for official, name in WHOLE.items()}
    made: dict[str, Recipe] = {}
    for name in contents.shapes:
        layer = LAYER.fullmatch(name)
        if layer and layer[2] in back:
            official, change = back[layer[2]]
            made[f"blocks.{layer[1]}.{official}"] = Recipe((name,), change.read)
        else:
            made[whole.get(name, name)] = Recipe((name,))
    return made | _absent_biases(contents, made)


def _absent_biases(contents: Contents, made: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """A model without any bias in its LayerNorms has biases of zero. A missing norm is no such thing: it stays missing."""
    norms = [match for name in contents.shapes if (match := LAYER_NORM.fullmatch(name))]
    if any(match[2] == "bias" for match in norms):
        return {}
    weights = {match[0] for match in norms}
    return {
        official.removesuffix("weight") + "bias": Recipe(recipe.sources, torch.zeros_like)
        for official, recipe in made.items()
        if recipe.sources[0] in weights
    }


def write_recipes(names: Mapping[str, object], table: Table) -> dict[str, Recipe]:
    """Tensors of this layout, in full names, from official ones. Raises KeyError for a name without a place here."""
    made: dict[str, Recipe] = {}
    for name in names:
        block = BLOCK.fullmatch(name)
        if block:
            leaf, change = table[block[2]]
            made[f"model.layers.{block[1]}.{leaf}"] = Recipe((name,), change.write)
        else:
            here = WHOLE[name]
            made[here if here.startswith("lm_head") else f"model.{here}"] = Recipe((name,))
    return made


def config_of_both(names: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """What config.json says of either version. names: official names and shapes."""
    vocabulary, width = names["emb.weight"]
    hidden = names["blocks.0.ffn.key.weight"][0]
    return {
        "attn": None,
        "attn_mode": "chunk",
        "bos_token_id": 0,
        "eos_token_id": 0,
        "fuse_norm": True,
        "hidden_act": "sqrelu",
        "hidden_ratio": hidden / width,
        "hidden_size": width,
        "intermediate_size": hidden,
        "norm_bias": True,
        "norm_eps": 1e-5,
        "norm_first": True,
        "num_hidden_layers": 1 + max(int(block[1]) for name in names if (block := BLOCK.match(name))),
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": vocabulary,
    }


def row(index: int, tensor: Tensor) -> Tensor:
    """Vector `index` of several, (1, 1, C)."""
    return tensor[index].reshape(1, 1, -1)
