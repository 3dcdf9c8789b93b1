"""The music that models are judged on: a corpus, or files as they lie in folders, archives and collections of tunes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rwkv_music.errors import UserError
from rwkv_music.reading.pieces import MUSICXML, piece_of
from rwkv_music_tokenizers.abc_tokens import training_text
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.items import ABC, BROKEN_ARCHIVE, MIDI, NOT_READABLE, Item
from rwkv_music_training.corpus.reading import Taking, read_unit
from rwkv_music_training.corpus.units import find_units
from rwkv_music_training.judging.pieces import KeptPiece, Piece, PlayedPiece, TunePiece

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Shelf:
    """Where music lies, and which licences of it are taken."""

    place: Path
    tiers: tuple[str, ...] = ("A",)
    # How many files were left out, by reason; filled while they are read.
    left_out: Counter[str] = field(default_factory=Counter)

    def pieces(self, split: str, most: int = 0) -> list[Piece]:
        """The pieces of a split, at most so many, evenly spread (0: all).

        Music that nobody has split is held out as a whole: it is all `valid`, and nothing is `train`. Raises UserError
        for a place that is none, and for an archive that is broken.
        """
        return self._kept(split, most) if (self.place / MANIFEST).is_file() else self._raw(split, most)

    def _kept(self, split: str, most: int) -> list[Piece]:
        corpus = Corpus.open(self.place)
        documents, language = corpus.split(split), corpus.manifest.tokenizer
        return [
            KeptPiece(f"{split} {number}", str(documents.sources[number]), language, documents.read(number))
            for number in spread(len(documents.lengths), most)
        ]

    def _raw(self, split: str, most: int) -> list[Piece]:
        items = self._items
        if any(item.told.split for item in items):
            items = [item for item in items if item.told.split == split]
        elif split != "valid":
            return []
        found = (self._piece(items[number]) for number in spread(len(items), most))
        return [piece for piece in found if piece is not None]

    @cached_property
    def _items(self) -> list[Item]:
        found: list[Item] = []
        for unit in find_units([self.place]):
            for one in read_unit(unit, Taking(tiers=self.tiers)):
                if isinstance(one, Item):
                    found.append(one)
                elif one.reason == BROKEN_ARCHIVE:
                    raise UserError(f"{one.name}: {one.reason}: {one.detail}")
                else:
                    self.left_out[one.reason] += 1
        return found

    def _piece(self, item: Item) -> Piece | None:
        """A piece as it was found; None for one that cannot be read."""
        if item.form == ABC:
            return TunePiece(item.name, item.told.source, training_text(item.content.decode("utf-8", "replace")))
        try:
            if item.form == MIDI:
                return PlayedPiece(item.name, item.told.source, read_midi(item.content))
            return PlayedPiece(item.name, item.told.source, piece_of(item.content, item.name, MUSICXML).played())
        except (NotationError, UserError):
            self.left_out[NOT_READABLE] += 1
            return None


def spread(count: int, most: int) -> Sequence[int]:
    """Numbers below `count`, at most so many, evenly spread (0: all)."""
    if not most or count <= most:
        return range(count)
    return np.linspace(0, count - 1, most).round().astype(int).tolist()
