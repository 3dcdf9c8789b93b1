"""Exports of official models that rename the modules and leave the leaves: transformers' own RWKV-7, and others.

Known: `rwkv7.blocks.0.att.x_r` (transformers), `model.layers.0.attention.x_r`, `model.blocks.0.feed_forward.key.weight`.
"""

import re

from rwkv_music.checkpoint.layouts.recipe import Contents, Layout, Recipe

ROOTS = re.compile(r"(rwkv[4567]?|transformer|backbone)\.")
BLOCK = re.compile(r"(?:blocks|layers|h)\.(\d+)\.([^.]+)\.(.+)")
WHOLE = {
    "embeddings.weight": "emb.weight",
    "embed.weight": "emb.weight",
    "embed_tokens.weight": "emb.weight",
    "lm_head.weight": "head.weight",
    "norm.weight": "ln_out.weight",
    "norm.bias": "ln_out.bias",
}
PARTS = {
    "attention": "att",
    "time_mix": "att",
    "tmix": "att",
    "feed_forward": "ffn",
    "channel_mix": "ffn",
    "cmix": "ffn",
    "pre_ln": "ln0",
    "pre_norm": "ln0",
}
# Leaves that no official model lacks.
LEAVES = re.compile(r"(r_k|time_decay|time_faaaa|time_first|receptance\.weight)")


def recipes(contents: Contents) -> dict[str, Recipe]:
    """Roots and modules renamed."""
    return {official_name(name): Recipe((name,)) for name in contents.shapes}


def official_name(name: str) -> str:
    """'rwkv7.blocks.0.att.x_r' and 'layers.0.attention.x_r' are 'blocks.0.att.x_r'."""
    name = ROOTS.sub("", name, count=1) if ROOTS.match(name) else name
    if block := BLOCK.fullmatch(name):
        return f"blocks.{block[1]}.{PARTS.get(block[2], block[2])}.{block[3]}"
    return WHOLE.get(name, name)


def _fits(contents: Contents) -> bool:
    if "emb.weight" in contents.shapes and any(name.startswith("blocks.0.att.") for name in contents.shapes):
        return False
    blocks = (BLOCK.fullmatch(official_name(name)) for name in contents.shapes)
    return any(block and block[2] == "att" and LEAVES.fullmatch(block[3]) for block in blocks)


EXPORTS = Layout("export", _fits, recipes)
