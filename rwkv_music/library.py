"""Models by name: what the package carries and what people tuned, and which files a name or a path stands for.

A name may say styles besides, as in "abc-folk+waltzes" or "abc-folk+waltzes:0.7+slow.safetensors": the model, then each
style by name or file and, if it is not 1, with its weight. Whoever remembers the name remembers the styles.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs

from rwkv_music.catalogue import PublishedModel, published_file, published_models
from rwkv_music.errors import UserError
from rwkv_music.hub import HubFile, cached_file, hub_file

EMBEDDED = Path(__file__).parent / "models"
WEIGHTS = "model.safetensors"
# A folder that holds this and no weights is a style for the model that its config.json calls the base.
STYLE = "style.safetensors"
# Beside the weights of a model: its styles, each NAME.safetensors.
STYLES = "styles"
MOST_STYLES = 16
MOST_WEIGHT = 100
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
class Chosen:
    """What a name says: a model by name or path, and its styles by name or path, each with its weight."""

    model: str
    styles: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        """The name that says it."""
        told = [name if weight == 1 else f"{name}:{weight:g}" for name, weight in self.styles]
        return "+".join([self.model, *told])


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies. `config` is None for bare weights."""

    weights: Path
    config: ModelConfig | None


def embedded_models() -> list[str]:
    """Names of the models inside the package, in alphabetical order."""
    return sorted(path.parent.name for path in EMBEDDED.glob(f"*/{WEIGHTS}"))


def user_models_folder() -> Path:
    """Where models and styles that people tuned lie by name, each in a folder; it need not be there."""
    return platformdirs.user_data_path("rwkv-music", appauthor=False) / "models"


def user_models() -> list[str]:
    """Names of the models that people tuned, in alphabetical order."""
    return sorted(path.parent.name for path in user_models_folder().glob(f"*/{WEIGHTS}"))


def chosen(name_or_path: str | Path) -> Chosen:
    """What a name says. A path that exists stands for itself, and a tuned style for its model and itself.

    Raises ModelNotFoundError where a style has no name or a weight is no number.
    """
    text = str(name_or_path)
    if Path(text).exists() or "+" not in text:
        return _of_style(text)
    cuts = [place for place, letter in enumerate(text) if letter == "+"]
    # A path may have a + in it.
    model = next((text[:cut] for cut in reversed(cuts) if Path(text[:cut]).exists()), text[: cuts[0]])
    first = _of_style(model)
    return Chosen(first.model, (*first.styles, *map(read_style_name, text[len(model) + 1 :].split("+"))))


def read_style_name(text: str) -> tuple[str, float]:
    """Name or file of a style, and its weight, of "NAME" or "NAME:WEIGHT". Raises ModelNotFoundError."""
    name, colon, weight = text.rpartition(":")
    try:
        number = float(weight) if colon else 1.0
    except ValueError:
        # The colon is the file's own, as behind the letter of a drive.
        name, number = text, 1.0
    name = name if colon else text
    if not name or "+" in name or not math.isfinite(number) or abs(number) > MOST_WEIGHT:
        raise ModelNotFoundError(
            f"no style {text!r}: say NAME or NAME:WEIGHT, a number from -{MOST_WEIGHT} to {MOST_WEIGHT}"
        )
    return name, number


def _of_style(name: str) -> Chosen:
    """The model of a tuned style where a name or folder stands for one, else the model of that name."""
    path = Path(name)
    folder = path if path.is_dir() else user_models_folder() / path if _is_plain(name) else None
    if folder is not None and not path.is_file() and (folder / STYLE).is_file() and _weights_in(folder) is None:
        return Chosen(_base_of(folder), ((str(folder / STYLE) if path.is_dir() else name, 1.0),))
    if not path.exists() and _is_plain(name) and name not in (*embedded_models(), *user_models(), *published_models()):
        owners = (path.parent.parent.name for path in EMBEDDED.glob(f"*/{STYLES}/*.safetensors") if path.stem == name)
        if (owner := next(owners, None)) is not None:
            return Chosen(owner, ((name, 1.0),))
    return Chosen(name)


def _base_of(folder: Path) -> str:
    config = read_config(folder / CONFIG) if (folder / CONFIG).is_file() else None
    training = config.about.get("training") if config else None
    base = training.get("base") if isinstance(training, Mapping) else None
    if not isinstance(base, str):
        raise ModelNotFoundError(f"{folder}: a folder with a style alone says in its config.json for which base it is")
    return base


def _is_plain(name: str) -> bool:
    """A name, and no path in disguise."""
    return bool(name) and name not in (".", "..") and not set(name) & {"/", "\\", ":", "\0"}


def styles_of(files: ModelFiles) -> dict[str, Path]:
    """The styles of a model by name: those beside its weights, and those that people tuned for it."""
    found = {path.stem: path for folder in _style_folders(files) for path in sorted(folder.glob("*.safetensors"))}
    if files.config is not None:
        for path in sorted(user_models_folder().glob(f"*/{STYLE}")):
            if _weights_in(path.parent) is None and (path.parent / CONFIG).is_file():
                try:
                    about = read_config(path.parent / CONFIG)
                except ModelNotFoundError:
                    # Whoever names it is told; no other style suffers for it.
                    continue
                training = about.about.get("training") if about else None
                if isinstance(training, Mapping) and training.get("base") == files.config.name:
                    found.setdefault(path.parent.name, path)
    return found


def find_style(name_or_path: str, files: ModelFiles) -> Path:
    """The file of a style for that model. A path that exists goes before a name. Raises ModelNotFoundError."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.is_dir() and (path / STYLE).is_file():
        return path / STYLE
    known = styles_of(files)
    own = user_models_folder() / name_or_path / STYLE if _is_plain(name_or_path) else None
    if name_or_path in known:
        return known[name_or_path]
    if own is not None and own.is_file():
        return own
    whose = files.config.name if files.config else str(files.weights)
    raise ModelNotFoundError(
        f"no style '{name_or_path}' for {whose}: neither a file nor one of its own ({', '.join(known) or 'none'})"
    )


def _style_folders(files: ModelFiles) -> list[Path]:
    """The first that has a style of a name comes last."""
    mine = [user_models_folder() / files.config.name / STYLES] if files.config and _is_plain(files.config.name) else []
    return [*mine, files.weights.parent / STYLES]


def find_model(name_or_path: str | Path) -> ModelFiles:
    """The files of an embedded model, of one that was tuned here, of a folder, a weights file, or one of the hub.

    A path that exists goes before a name, and styles that the name says are left aside. Nothing is fetched here. Raises
    ModelNotFoundError, also for a config.json that cannot be used and for a model of the hub that has not been fetched;
    HubError for a name that is none.
    """
    name_or_path = chosen(name_or_path).model
    path = Path(name_or_path)
    if path.is_file():
        return _with_config(path)
    if path.is_dir():
        return _in_folder(path)
    if str(name_or_path) in embedded_models():
        return _in_folder(EMBEDDED / path)
    if _is_plain(str(name_or_path)) and _weights_in(user_models_folder() / path) is not None:
        return _in_folder(user_models_folder() / path)
    if (wanted := hub_file(str(name_or_path))) is not None:
        return _fetched(str(name_or_path), wanted)
    known = ", ".join([*embedded_models(), *user_models()]) or "none"
    raise ModelNotFoundError(
        f"no model '{name_or_path}': neither a file nor a folder nor a model here ({known}) "
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


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in (WEIGHTS, *OTHERS) if (folder / name).is_file()), None)


def _in_folder(folder: Path) -> ModelFiles:
    weights = _weights_in(folder)
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
