"""The RWKV music models that others have published, as data: where they are, what they are, how they are drawn from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

PUBLISHED = Path(__file__).parent / "models" / "published.json"


@dataclass(frozen=True)
class PublishedModel:
    """One published model. What is not known is None, or empty."""

    # The short name that people type.
    name: str
    # None for a model that is on no hub.
    repo: str | None
    file: str
    # A branch, or the commit where the file was seen.
    revision: str | None
    # A page with the file, for a model that is on no hub.
    source: str | None
    bytes: int | None
    sha256: str | None
    version: str
    layers: int | None
    width: int | None
    vocabulary: int
    # Tokens a piece had in training.
    context: int
    licence: str | None
    # "abc", "midi", "midipiano" or "mmm".
    tokenizer: str
    # Ids that pad, begin and end a piece.
    separators: Mapping[str, int] | None
    # How the model's makers draw from it; docs/models.md tells the names.
    sampling: Mapping[str, float]
    about: str

    def plain(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


@cache
def published_models() -> Mapping[str, PublishedModel]:
    """Every published model by its short name."""
    entries = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return MappingProxyType({name: _model(name, **entry) for name, entry in entries.items()})


def published_file(name: str) -> PublishedModel | None:
    """The published model whose weights file has that name."""
    return next((model for model in published_models().values() if model.file == name), None)


def _model(name: str, separators: dict[str, int] | None, sampling: dict[str, float], **entry) -> PublishedModel:
    ids = None if separators is None else MappingProxyType(separators)
    return PublishedModel(name=name, separators=ids, sampling=MappingProxyType(sampling), **entry)
