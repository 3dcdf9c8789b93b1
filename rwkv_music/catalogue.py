"""The RWKV music models that others have published, as data: where they lie, what they are, how they want to be drawn from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

PUBLISHED = Path(__file__).parent / "models" / "published.json"


@dataclass(frozen=True)
class PublishedModel:
    """One published model. What is not known is None."""

    # The short name that people type.
    name: str
    repo: str
    file: str
    bytes: int | None
    # The sha256 of the file, or its beginning.
    sha256: str | None
    version: str
    layers: int
    width: int
    vocabulary: int
    # Tokens a piece had in training.
    context: int
    licence: str | None
    # "abc", "midi", "midipiano" or "mmm".
    tokenizer: str
    # Ids that pad, begin and end a piece.
    separators: Mapping[str, int] | None
    # How the model's makers draw from it.
    sampling: Mapping[str, float]
    about: str


@cache
def published_models() -> Mapping[str, PublishedModel]:
    """Every published model by its short name."""
    entries = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return MappingProxyType({name: PublishedModel(name=name, **entry) for name, entry in entries.items()})
