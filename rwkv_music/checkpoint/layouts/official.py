"""Official checkpoints: every tensor is what it is called."""

from rwkv_music.checkpoint.layouts.recipe import Contents, Layout, Recipe


def recipes(contents: Contents) -> dict[str, Recipe]:
    """Every tensor as it is."""
    return {name: Recipe((name,)) for name in contents.shapes}


def _fits(contents: Contents) -> bool:
    return True


OFFICIAL = Layout("official", _fits, recipes)
