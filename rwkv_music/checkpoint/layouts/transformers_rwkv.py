"""Hugging Face models of RWKV 4, 5 and 6 (`RwkvForCausalLM` and its successors): official tensors under longer names.

Their code divides `attention.output` and `feed_forward.value` of layer i by 2 ** (i // rescale_every) in place before it
evaluates, and a model saved after that is stored divided. Nothing in such a file tells: the published models have
`rescale_every` in their config and are not divided. So weights count as they stand, unless the config.json beside them
or the metadata say `"layers_are_rescaled": true`, as that code calls it; then they are multiplied back, exactly.
"""

import re
from functools import partial

from torch import Tensor

from rwkv_music.checkpoint.layouts.recipe import Contents, Layout, LayoutError, Recipe

PARTS = {"pre_ln": "ln0", "attention": "att", "feed_forward": "ffn"}
LEAVES = {
    "time_mix_key": "time_mix_k",
    "time_mix_value": "time_mix_v",
    "time_mix_receptance": "time_mix_r",
    "time_mix_gate": "time_mix_g",
}
DIVIDED = re.compile(r"blocks\.(\d{1,3})\.(att\.output|ffn\.value)\.weight")


def recipes(contents: Contents) -> dict[str, Recipe]:
    """Names shortened; divided weights multiplied back where the file says that they are divided."""
    every = _rescale_every(contents)
    made: dict[str, Recipe] = {}
    for name in contents.shapes:
        official = official_name(name)
        divided = DIVIDED.fullmatch(official)
        power = int(divided[1]) // every if divided and every else 0
        made[official] = Recipe((name,), partial(_multiplied, 2.0**power) if power else None)
    return made


def official_name(name: str) -> str:
    """'rwkv.blocks.0.attention.time_mix_key' is 'blocks.0.att.time_mix_k'."""
    name = name.removeprefix("rwkv.")
    if name == "embeddings.weight":
        return "emb.weight"
    if name.startswith("blocks."):
        return ".".join(PARTS.get(part, LEAVES.get(part, part)) for part in name.split("."))
    return name


def _multiplied(factor: float, tensor: Tensor) -> Tensor:
    return tensor * factor


def _rescale_every(contents: Contents) -> int:
    """Layers between two halvings; 0: none. Raises LayoutError."""
    told = contents.config.get("layers_are_rescaled", contents.metadata.get("layers_are_rescaled"))
    if told not in (True, "true", "True"):
        return 0
    every = contents.config.get("rescale_every", contents.metadata.get("rescale_every", 6))
    try:
        every = int(every)
    except (TypeError, ValueError):
        every = -1
    if not 0 <= every < 1000:
        raise LayoutError("the config's 'rescale_every' is no number of layers")
    return every


def _fits(contents: Contents) -> bool:
    return "rwkv.embeddings.weight" in contents.shapes


TRANSFORMERS = Layout("transformers", _fits, recipes)
