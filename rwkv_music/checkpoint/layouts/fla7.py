"""RWKV-7 of flash-linear-attention (`RWKV7ForCausalLM`): other names, low-rank matrices as linear layers.

Layer 0 has no `v_lora`. A model with `norm_first: false` has no first norm, which no RWKV-7 lacks, so it is refused by
the tensor that is missing: a norm of weight 1 and bias 0 would not be the same.
"""

import re
from collections.abc import Mapping
from functools import partial

from rwkv_music.checkpoint.layouts.fla import NORMS, Table, config_of_both, read_recipes, row, write_recipes
from rwkv_music.checkpoint.layouts.recipe import FLAT_VECTOR, SAME, SWAPPED, VECTOR, Contents, Layout, Recipe

PROJECTIONS = {"receptance": "r_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
TABLE: Table = {
    **NORMS,
    **{f"att.x_{letter}": (f"attn.x_{letter}", VECTOR) for letter in "rwkvag"},
    **{f"att.{letter}0": (f"attn.{letter}_lora.lora.2.bias", FLAT_VECTOR) for letter in "wav"},
    **{f"att.{letter}1": (f"attn.{letter}_lora.lora.0.weight", SWAPPED) for letter in "wavg"},
    **{f"att.{letter}2": (f"attn.{letter}_lora.lora.2.weight", SWAPPED) for letter in "wavg"},
    **{f"att.{name}.weight": (f"attn.{here}.weight", SAME) for name, here in PROJECTIONS.items()},
    "att.k_k": ("attn.k_k", FLAT_VECTOR),
    "att.k_a": ("attn.k_a", FLAT_VECTOR),
    "att.r_k": ("attn.r_k", SAME),
    "ffn.x_k": ("ffn.x_k", FLAT_VECTOR),
    "ffn.key.weight": ("ffn.key.weight", SAME),
    "ffn.value.weight": ("ffn.value.weight", SAME),
}
# The first files kept the six mixes of a layer in one tensor, in this order.
TOGETHER = re.compile(r"layers\.(\d+)\.attn\.x_x")
ORDER = "rwkvag"
UNUSED = ("blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2")


def recipes(contents: Contents) -> dict[str, Recipe]:
    """Official tensors of a file in this layout."""
    made = read_recipes(contents, TABLE)
    for name in contents.shapes:
        if (together := TOGETHER.fullmatch(name)) and contents.shapes[name][:1] == (len(ORDER),):
            del made[name]
            for index, letter in enumerate(ORDER):
                made[f"blocks.{together[1]}.att.x_{letter}"] = Recipe((name,), partial(row, index))
    return made


def written(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Recipe]:
    """Tensors of this layout from official ones. Raises KeyError."""
    return write_recipes({name: shape for name, shape in shapes.items() if name not in UNUSED}, TABLE)


def config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """The config.json of a model of these official shapes."""
    both = config_of_both(shapes)
    heads, size = shapes["blocks.0.att.r_k"]
    ranks = {letter: shapes[f"blocks.0.att.{letter}1"][1] for letter in "wag"}
    return both | {
        "architectures": ["RWKV7ForCausalLM"],
        "model_type": "rwkv7",
        "head_dim": size,
        "num_heads": heads,
        "value_dim": [shapes["emb.weight"][1]] * int(str(both["num_hidden_layers"])),
        "decay_low_rank_dim": ranks["w"],
        "a_low_rank_dim": ranks["a"],
        "gate_low_rank_dim": ranks["g"],
        # A model of one layer mixes no values, and the rank says nothing.
        "v_low_rank_dim": shapes.get("blocks.1.att.v1", (0, 32))[1],
    }


def _fits(contents: Contents) -> bool:
    return "layers.0.attn.r_proj.weight" in contents.shapes and any(
        name.endswith((".attn.r_k", ".attn.x_x")) for name in contents.shapes
    )


FLA7 = Layout("fla-rwkv7", _fits, recipes)
