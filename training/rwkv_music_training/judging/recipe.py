"""What the report on a model must know of its training, read from its config.json whichever trainer wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from rwkv_music.errors import UserError
from rwkv_music_training.encoding import Clock


class RecipeError(UserError):
    """A config.json whose training cannot be understood; says the field."""


@dataclass(frozen=True)
class NoteRecipe:
    """How a model of notes was trained, as far as it is measured in the same way."""

    # Splits and licence tiers of the collection, and the clock of its documents.
    train_file: str = "train"
    valid_file: str = "valid"
    tiers: tuple[str, ...] = ("A",)
    clock: Clock = "auto"
    # Processes that encode.
    threads: int = 2
    # The longest window, and the power of a source's tokens that says how much of it was read.
    max_length: int = 1024
    source_power: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0


def note_recipe(config: Mapping[str, Any]) -> NoteRecipe:
    """The recipe of a model from its config.json. Raises RecipeError."""
    training = training_of(config)
    known = {name: training[name] for name in NoteRecipe.__dataclass_fields__ if name in training}
    for name, value in known.items():
        default = getattr(NoteRecipe(), name)
        kinds = (
            (list, tuple)
            if isinstance(default, tuple)
            else (int, float)
            if isinstance(default, float)
            else type(default)
        )
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise RecipeError(f"config.json, training: {name} must be like {default!r}, not {value!r}")
    if known.get("clock", "auto") not in get_args(Clock):
        raise RecipeError(f"config.json, training: clock must be one of {', '.join(get_args(Clock))}")
    return NoteRecipe(**{**known, "tiers": tuple(known.get("tiers", ("A",)))})


def training_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run by the names that pages use; those that are grouped come out of their groups."""
    training = config.get("training")
    if not isinstance(training, Mapping):
        raise RecipeError("config.json of the model lacks 'training': it was not made by this trainer")
    flat: dict[str, Any] = {}
    for name, value in training.items():
        flat |= dict(value) if isinstance(value, Mapping) else {name: value}
    dimensions = config.get("dimensions", {})
    flat.setdefault("tokenizer", config.get("tokenizer", "abc"))
    flat.setdefault("max_length", flat.get("window", 2048))
    for name in ("layers", "width"):
        flat.setdefault(name, dimensions.get(name))
    for name in ("temperature", "top_p"):
        flat.setdefault(name, config.get("sampling", {}).get(name, 1.0))
    return flat
