"""Names for what people tune: plain words that stand for nothing else."""

import re
import unicodedata

from rwkv_music.catalogue import published_models
from rwkv_music.errors import UserError
from rwkv_music.library import EMBEDDED, STYLES, embedded_models, user_models_folder

# Names of styles, of models and of folders are the same names; + and : would say more styles, and weights.
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_NAME = 40


def is_plain_name(name: str) -> bool:
    """Whether a model or a style may be called so."""
    return len(name) <= LONGEST_NAME and NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raises UserError for what is no plain name, and for one that stands for something else already."""
    if not is_plain_name(name):
        raise UserError(f"{name!r:.60}: a name has letters a to z, digits and dashes, as in slow-waltzes")
    folders = (EMBEDDED, user_models_folder())
    styles = {path.stem for folder in folders for path in folder.glob(f"*/{STYLES}/*.safetensors")}
    if name in {*embedded_models(), *published_models(), *styles}:
        raise UserError(f"something else is called {name}: choose another name")


def plain_name(text: str) -> str:
    """A name as a model or a style may have it, of what a folder is called; "" where no letter or digit is left."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", letters.replace("'", ""))
    return "-".join(words)[:LONGEST_NAME].strip("-")
