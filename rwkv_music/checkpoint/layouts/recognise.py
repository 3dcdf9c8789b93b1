"""Which layout a file is in, by the names and shapes of its tensors: never by its own name or the order inside it."""

from collections.abc import Mapping

from rwkv_music.checkpoint.layouts.exports import EXPORTS
from rwkv_music.checkpoint.layouts.fla6 import FLA6
from rwkv_music.checkpoint.layouts.fla7 import FLA7
from rwkv_music.checkpoint.layouts.official import OFFICIAL
from rwkv_music.checkpoint.layouts.recipe import Contents, Layout, LayoutError, follow
from rwkv_music.checkpoint.layouts.transformers_rwkv import TRANSFORMERS
from rwkv_music.checkpoint.layouts.web_rwkv import WEB_RWKV
from rwkv_music.checkpoint.source import Stored

# The official layout takes what no other does.
LAYOUTS = (FLA7, FLA6, TRANSFORMERS, EXPORTS, WEB_RWKV, OFFICIAL)


def find_layout(contents: Contents) -> Layout:
    """The first layout that a file fits."""
    return next(layout for layout in LAYOUTS if layout.fits(contents))


def official_tensors(stored: Mapping[str, Stored], contents: Contents) -> tuple[dict[str, Stored], str]:
    """The tensors by official name, and the name of their layout. Raises LayoutError."""
    layout = find_layout(contents)
    recipes = layout.recipes(contents)
    used = [source for recipe in recipes.values() for source in recipe.sources]
    lost = set(stored) - set(used)
    if lost:
        raise LayoutError(f"two tensors are one official tensor, of them '{min(lost)}'")
    return follow(recipes, stored), layout.name
