"""Recipes: training configurations in YAML, those of this package by their names and those in files."""

from importlib import resources
from pathlib import Path

import yaml

from rwkv_music_training.learning.config import ConfigError, TrainingConfig, checked

# A configuration is a page at most; a larger file is something else.
LARGEST = 100_000
SUFFIX = ".yaml"


def recipes() -> list[str]:
    """Names of the recipes of this package."""
    folder = resources.files("rwkv_music_training") / "recipes"
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))


def read_recipe(name: str) -> TrainingConfig:
    """A recipe of this package, or one in a file. Raises ConfigError."""
    if name in recipes():
        told = resources.files("rwkv_music_training") / "recipes" / (name + SUFFIX)
        return config_of(told.read_text(encoding="utf-8"), name)
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"{name}: no such file, and no recipe of that name (there are {', '.join(recipes())})")
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path}: larger than {LARGEST:,} bytes, this is no recipe")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error})") from error
    return config_of(text, str(path))


def config_of(text: str, place: str = "config") -> TrainingConfig:
    """The configuration in YAML text; a relative `data.corpus` stays as it is said. Raises ConfigError, one line."""
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{place}: not YAML ({' '.join(str(error).split())})") from error
    return checked(values, place)


def text_of(config: TrainingConfig) -> str:
    """The configuration as YAML, every field said."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
