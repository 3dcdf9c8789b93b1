"""Those who are judged: models by name, folder or file, and n-grams of an order."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rwkv_music.catalogue import published_models
from rwkv_music.checkpoint.load import load_weights
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.hub import HubError, cached_file, hub_file
from rwkv_music.library import embedded_models, find_model
from rwkv_music.manuscripts.choose import LANGUAGES, language_of
from rwkv_music.model.versions import shapes_of
from rwkv_music_training.judging.ngrams import NgramModel
from rwkv_music_training.judging.pieces import Piece
from rwkv_music_training.judging.predictors import EnginePredictor, NgramPredictor, Predictor

EVERY = "all"
NGRAMS = re.compile(r"ngram:([1-9]|1[0-6])")
# The order that "all" takes.
USUAL_ORDER = 6


@dataclass(frozen=True)
class Contender:
    """One who is judged."""

    name: str
    # What it is, in words: "RWKV-7, 6 x 192".
    about: str
    predictor: Predictor
    language: str
    # Numbers in all tensors; of n-grams none.
    parameters: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0


def names_of(asked: Sequence[str]) -> list[str]:
    """The contenders that are meant: `all` is what the package carries, what was fetched, and n-grams."""
    every = [*embedded_models(), *fetched_models(), f"ngram:{USUAL_ORDER}"] if EVERY in asked else []
    return list(dict.fromkeys(name for one in asked for name in (every if one == EVERY else [one])))


def fetched_models() -> list[str]:
    """Published models that are here already."""
    found = []
    for name in published_models():
        try:
            wanted = hub_file(name)
        except HubError:
            # One that no hub has must be named by its path.
            continue
        if wanted is not None and cached_file(wanted) is not None:
            found.append(name)
    return found


def open_contender(name: str, train: Callable[[], Sequence[Piece]], language: str) -> Contender:
    """The contender of a name; n-grams learn the pieces that `train` gives, in the code `language`.

    Raises UserError, CheckpointError or OSError.
    """
    if match := NGRAMS.fullmatch(name):
        return ngrams(int(match[1]), train(), language)
    if name.startswith("ngram"):
        raise UserError(f"{name!r} is no baseline: it is ngram:N with N from 1 to 16")
    engine = Engine.open(name)
    spoken = language_of(engine)
    sampling = engine.config.sampling if engine.config else {}
    shapes = shapes_of(load_weights(find_model(name).weights))
    spec = engine.spec
    return Contender(
        engine.config.name if engine.config else name.rpartition("/")[2],
        f"RWKV-{spec.version}, {spec.layers} x {spec.width}",
        EnginePredictor(engine),
        spoken,
        sum(math.prod(shape) for shape in shapes.values()),
        float(sampling.get("temperature", 1.0)),
        float(sampling.get("top_p", 1.0)),
    )


def ngrams(order: int, pieces: Sequence[Piece], language: str) -> Contender:
    """The baseline of an order on training pieces. Raises UserError when there is none."""
    if not pieces:
        raise UserError(f"ngram:{order} learns from the train split, and this corpus has none")
    documents = [np.asarray(piece.document(language), dtype=np.int64) for piece in pieces]
    model = NgramModel(documents, LANGUAGES[language], order)
    return Contender(f"{order}-gram", f"Kneser-Ney, {len(documents):,} pieces", NgramPredictor(model), language)
