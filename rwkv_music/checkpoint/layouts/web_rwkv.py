"""web-rwkv `.st`: official names, two of them changed, and the low-rank matrices transposed.

Its `time_first` is the official `time_faaaa`, without an exponential; RWKV-6 calls its `time_maa` vectors `time_mix`
although they weigh the previous token. RWKV 5.1 was written with decay and bonus repeated over the channels of a head,
so it reads as 5.2, which computes the same. RWKV-4 has the same names in both layouts.
"""

import re

from rwkv_music.checkpoint.layouts.recipe import Contents, Layout, Recipe, swapped

# Where the C channels stand in the official tensor, from the end; everywhere else lie the ranks.
CHANNELS_FIRST = re.compile(r"blocks\.\d+\.att\.(time_mix_w1|time_decay_w1|[wavg]1)")
CHANNELS_LAST = re.compile(r"blocks\.\d+\.att\.(time_mix_w2|time_decay_w2|[wavg]2)")
START = re.compile(r"blocks\.\d+\.att\.time_state")


def recipes(contents: Contents) -> dict[str, Recipe]:
    """Names and orientation put back."""
    six = "blocks.0.att.time_mix_x" in contents.shapes
    made: dict[str, Recipe] = {}
    for name in contents.shapes:
        official = re.sub(r"(?<=\.att\.)time_first$", "time_faaaa", name)
        if six:
            official = official.replace(".time_mix_", ".time_maa_")
        made[official] = Recipe((name,), swapped if _is_swapped(name, contents) else None)
    return made


def _is_swapped(name: str, contents: Contents) -> bool:
    """By shape where the shape tells; a square matrix is as the format has it."""
    shape, width = contents.shapes[name], _width(contents)
    if len(shape) < 2:
        return False
    if CHANNELS_FIRST.fullmatch(name):
        return shape[-2] != width or shape[-1] == width
    if CHANNELS_LAST.fullmatch(name):
        return shape[-1] != width or shape[-2] == width
    return bool(START.fullmatch(name))


def _width(contents: Contents) -> int:
    shape = contents.shapes.get("emb.weight", ())
    return shape[-1] if shape else 0


def _fits(contents: Contents) -> bool:
    shapes = contents.shapes
    if contents.archive or "blocks.0.att.time_faaaa" in shapes:
        return False
    first = {name.removeprefix("blocks.0.att.") for name in shapes if name.startswith("blocks.0.att.")}
    if "time_mix_x" in first:
        return True
    if {"time_first", "ln_x.weight", "gate.weight"} <= first:
        return True
    if "r_k" not in first:
        return False
    turned = {_turned(name, contents) for name in shapes if CHANNELS_FIRST.fullmatch(name) and len(shapes[name]) == 2}
    return True in turned and False not in turned


def _turned(name: str, contents: Contents) -> bool | None:
    """Whether a matrix that officially is (C, rank) lies as (rank, C); None when both are C."""
    rows, columns = contents.shapes[name]
    width = _width(contents)
    return None if rows == columns else rows != width and columns == width


WEB_RWKV = Layout("web-rwkv", _fits, recipes)
