"""Models by name: what the package carries, and which files a name or a path stands for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rwkv_music.catalogue import PublishedModel, published_file, published_models
from rwkv_music.errors import UserError
from rwkv_music.hub import HubFile, cached_file, hub_file

EMBEDDED = Path(__file__).parent / "models"
WEIGHTS = "model.safetensors"
# What a folder may hold instead, as Hugging Face names it; an index stands for all the files it names.
OTHERS = ("model.safetensors.index.json", "pytorch_model.bin.index.json", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".pth", ".st", ".gguf")
CONFIG = "config.json"
CONFIG_LIMIT = 1 << 20
DEFAULT_MODEL = "abc-folk"
DEFAULT_MIDI_MODEL = "midi-score"
# What `SamplingOptions` takes of a published recipe.
SETTINGS = ("temperature", "top_p", "top_k", "min_p", "top_p_first")


class ModelNotFoundError(UserError):
    """A name or path that stands for no model."""


@dataclass(frozen=True)
class ModelConfig:
    """What stands in a model's config.json."""

    name: str
    # How text or music becomes ids: "abc".
    tokenizer: str
    # Defaults for the fields of SamplingOptions.
    sampling: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # Everything the file says: training numbers, licence, credits.
    about: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies. `config` is None for bare weights."""

    weights: Path
    config: ModelConfig | None


def embedded_models() -> list[str]:
    """Names of the models inside the package, in alphabetical order."""
    return sorted(path.parent.name for path in EMBEDDED.glob(f"*/{WEIGHTS}"))


def find_model(name_or_path: str | Path) -> ModelFiles:
    """The files of an embedded model, of a model folder, of a single weights file, or of one fetched from the hub.

    A path that exists goes before a name. Nothing is fetched here. Raises ModelNotFoundError, also for a config.json
    that cannot be used and for a model of the hub that has not been fetched; HubError for a name that is none.
    """
    path = Path(name_or_path)
    if path.is_file():
        return _with_config(path)
    if path.is_dir():
        return _in_folder(path)
    if str(name_or_path) in embedded_models():
        return _in_folder(EMBEDDED / path)
    if (wanted := hub_file(str(name_or_path))) is not None:
        return _fetched(str(name_or_path), wanted)
    known = ", ".join(embedded_models()) or "none"
    raise ModelNotFoundError(
        f"no model '{name_or_path}': neither a file nor a folder nor an embedded model ({known}) "
        "nor one that `rwkv-music models list` knows"
    )


def _fetched(name: str, wanted: HubFile) -> ModelFiles:
    """A model of the hub, from the cache."""
    path = cached_file(wanted)
    if path is not None:
        known = published_models().get(name.partition("@")[0])
        return ModelFiles(path, _published(known)) if known else _with_config(path)
    if "/" in name:
        raise ModelNotFoundError(
            f"'{name}' is neither a file nor a folder here, nor fetched yet; if it is on the hub, "
            f"`rwkv-music models pull {name}` fetches it"
        )
    raise ModelNotFoundError(f"'{name}' is not fetched yet: fetch it with `rwkv-music models pull {name}`")


def _with_config(weights: Path) -> ModelFiles:
    """A weights file, with the config beside it, or what is published about a file of that name."""
    beside = weights.parent / CONFIG
    if weights.name == WEIGHTS and beside.is_file():
        return ModelFiles(weights, read_config(beside))
    known = published_file(weights.name)
    return ModelFiles(weights, _published(known) if known else None)


def _published(known: PublishedModel) -> ModelConfig:
    sampling = {option: value for option, value in known.sampling.items() if option in SETTINGS}
    return ModelConfig(known.name, known.tokenizer, MappingProxyType(sampling), MappingProxyType(known.plain()))


def _in_folder(folder: Path) -> ModelFiles:
    weights = next((folder / name for name in (WEIGHTS, *OTHERS) if (folder / name).is_file()), None)
    if weights is None:
        found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
        if len(found) != 1:
            raise ModelNotFoundError(
                f"{folder}: a model folder holds {WEIGHTS}; name the weights file itself otherwise"
            )
        weights = found[0]
    config = folder / CONFIG
    return ModelFiles(weights, read_config(config)) if config.is_file() else _with_config(weights)


def read_config(path: Path) -> ModelConfig | None:
    """A model's config.json; None for one of Hugging Face's transformers, which says nothing about music.

    Raises ModelNotFoundError when it says less than a name and a tokenizer.
    """
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_LIMIT + 1)
        about = json.loads(text) if len(text) <= CONFIG_LIMIT else None
    except (ValueError, RecursionError):
        about = None
    if isinstance(about, dict) and "tokenizer" not in about and ("model_type" in about or "architectures" in about):
        return None
    if not isinstance(about, dict) or not all(isinstance(about.get(name), str) for name in ("name", "tokenizer")):
        raise ModelNotFoundError(f"{path}: a model's config is a JSON object with at least 'name' and 'tokenizer'")
    sampling = about.get("sampling", {})
    if not isinstance(sampling, dict) or not all(isinstance(value, (int, float)) for value in sampling.values()):
        raise ModelNotFoundError(f"{path}: 'sampling' holds the defaults of the sampling options as numbers")
    return ModelConfig(about["name"], about["tokenizer"], MappingProxyType(sampling), MappingProxyType(about))
