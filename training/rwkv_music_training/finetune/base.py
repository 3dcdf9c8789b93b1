"""Which model a folder of music is taught to: the one of its kind, unless another is named."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.library import DEFAULT_MIDI_MODEL, DEFAULT_MODEL, ModelFiles, find_model
from rwkv_music.manuscripts.choose import check_size
from rwkv_music.model.spec import Spec
from rwkv_music.model.versions import read_spec, shapes_of
from rwkv_music_training.corpus.codes import CODES
from rwkv_music_training.corpus.items import ABC, FORMS, Item
from rwkv_music_training.corpus.reading import Taking, read_unit
from rwkv_music_training.corpus.units import Unit, find_units
from rwkv_music_training.finetune.wishes import FinetuneError

# Pieces that are looked at inside archives to tell what kind of music it is.
LOOKED_AT = 100


@dataclass(frozen=True)
class Base:
    """The model that learns more."""

    # As it was named.
    name: str
    files: ModelFiles
    spec: Spec
    # The code that it speaks.
    code: str


def choose_base(name: str | None, places: Iterable[Path]) -> Base:
    """The model that was named, or the embedded one for the kind of most files.

    Raises FinetuneError for a model of a code that no corpus can be written in; ModelNotFoundError and CheckpointError.
    """
    chosen = name or (DEFAULT_MODEL if _mostly_abc(places) else DEFAULT_MIDI_MODEL)
    files = find_model(chosen)
    spec = read_spec(shapes_of(load_weights(files.weights)))
    code = check_size(files.config.tokenizer if files.config else "", spec.vocabulary)
    if code not in CODES:
        raise FinetuneError(f"{chosen} speaks '{code}'; models of {', '.join(CODES)} can be taught")
    return Base(chosen, files, spec, code)


def _mostly_abc(places: Iterable[Path]) -> bool:
    """Whether ABC is the most frequent form; MusicXML, which every model can read, counts for MIDI."""
    forms: Counter[str] = Counter()
    for unit in find_units(places):
        forms.update(_forms(unit))
    return forms[ABC] > sum(forms.values()) / 2


def _forms(unit: Unit) -> Iterable[str]:
    if unit.files:
        suffixes = (os.path.splitext(path)[1].lower() for path, _told in unit.files)
        return [FORMS[suffix] for suffix in suffixes if suffix in FORMS]
    pieces = zip(range(LOOKED_AT), read_unit(unit, Taking()), strict=False)
    return [piece.form for _number, piece in pieces if isinstance(piece, Item)]
