"""What somebody wants to have tuned, within bounds: which files, what it is called, how long it may take."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rwkv_music.errors import UserError
from rwkv_music.library import STYLE, WEIGHTS, embedded_models, user_models, user_models_folder
from rwkv_music.names import check_name, is_plain_name
from rwkv_music.terminal import without_controls

KINDS = (".abc", ".mid", ".midi", ".kar", ".musicxml", ".xml", ".mxl")
MOST_FILES = 500
# Of all files together.
MOST_BYTES = 32 << 20
MOST_MINUTES = 60
MOST_STEPS = 10_000
LONGEST_FILE_NAME = 80


@dataclass(frozen=True)
class Wish:
    """What somebody wants to have tuned. Raises UserError for what is out of bounds."""

    # What the style is called.
    name: str
    minutes: float = 10
    # The one that learns; "" takes the embedded one of the kind of most files.
    model: str = ""
    # A style of that name goes when the new one has come.
    replace: bool = False
    # At the most; 0 for as many as are usual.
    steps: int = 0

    def __post_init__(self) -> None:
        if not is_plain_name(self.name):
            raise UserError("a style's name has letters a to z, digits and dashes, as in slow-waltzes")
        if not 1 <= self.minutes <= MOST_MINUTES:
            raise UserError(f"1 to {MOST_MINUTES} minutes")
        if not 0 <= self.steps <= MOST_STEPS:
            raise UserError(f"at most {MOST_STEPS:,} steps")
        if self.model and self.model not in (*embedded_models(), *user_models()):
            raise UserError("the studio does not offer this model")

    def check_free(self) -> None:
        """Raises UserError where the name is somebody else's, or that of a style that was not to be replaced."""
        check_name(self.name)
        place = user_models_folder() / self.name
        tuned = (place / STYLE).is_file() and not (place / WEIGHTS).exists()
        if place.exists() and not tuned:
            raise UserError(f"something else is called {self.name}: choose another name")
        if tuned and not self.replace:
            raise UserError(f"there is a style {self.name}: choose another name, or say that it is to be replaced")


def shown(file: Path) -> str:
    """What a file is called, as it can be shown."""
    return without_controls(file.name)[-LONGEST_FILE_NAME:]


def typed_name(text: str) -> str:
    """What somebody typed as a name is usually meant; what else is in it is for `Wish` to refuse."""
    return re.sub(r"[\s_]+", "-", text.strip().lower())


def style_file(name: str) -> Path | None:
    """The file of a style that was tuned here; None where there is none of that name."""
    path = user_models_folder() / name / STYLE
    return path if is_plain_name(name) and path.is_file() else None


def check_files(files: Sequence[Path]) -> None:
    """Raises UserError for no files, too many, too large ones, and other kinds."""
    if not files:
        raise UserError("drop some files of music first: .abc, .mid or .musicxml")
    if len(files) > MOST_FILES:
        raise UserError(f"at most {MOST_FILES} files at once; `rwkv-music finetune` takes any number")
    for file in files:
        if file.suffix.lower() not in KINDS:
            raise UserError(f"{shown(file)} is none of {', '.join(KINDS)}")
    if sum(file.stat().st_size for file in files) > MOST_BYTES:
        raise UserError(f"at most {MOST_BYTES >> 20} MiB at once; `rwkv-music finetune` takes any number")
