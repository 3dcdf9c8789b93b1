"""What pieces cost a model: bits by token, note and second, and how often it foresaw each kind of token."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rwkv_music.errors import UserError
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_training.judging.kinds import kinds_of
from rwkv_music_training.judging.pieces import Piece, seconds_of
from rwkv_music_training.judging.predictors import Guess, Predictor


@dataclass(frozen=True)
class KindCost:
    """The tokens of one kind."""

    tokens: int = 0
    bits: float = 0.0
    # How many of them were the likeliest of all ids.
    hits: int = 0

    @property
    def accuracy(self) -> float:
        """The share that was foreseen, 0..1."""
        return self.hits / self.tokens if self.tokens else 0.0

    def __add__(self, other: "KindCost") -> "KindCost":
        return KindCost(self.tokens + other.tokens, self.bits + other.bits, self.hits + other.hits)

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        each = self.bits / self.tokens if self.tokens else None
        return {"tokens": self.tokens, "bits_per_token": _rounded(each), "accuracy": round(self.accuracy, 4)}


@dataclass(frozen=True)
class Costs:
    """What some pieces cost; the first id of each is given, the one that ends it counts."""

    language: str
    pieces: int = 0
    notes: int = 0
    seconds: float = 0.0
    kinds: dict[str, KindCost] = field(default_factory=dict)

    @property
    def whole(self) -> KindCost:
        """All tokens."""
        return sum(self.kinds.values(), KindCost())

    @property
    def per_token(self) -> float:
        """Bits a token; of ABC, whose tokens are characters, bits a character, ends included."""
        return self.whole.bits / max(1, self.whole.tokens)

    @property
    def per_note(self) -> float:
        """All bits (bars, lengths and what else there is too) over the notes."""
        return self.whole.bits / max(1, self.notes)

    @property
    def per_second(self) -> float:
        """All bits over the seconds of music."""
        return self.whole.bits / self.seconds if self.seconds else 0.0

    def __add__(self, other: "Costs") -> "Costs":
        names = dict.fromkeys([*self.kinds, *other.kinds])
        kinds = {name: self.kinds.get(name, KindCost()) + other.kinds.get(name, KindCost()) for name in names}
        return Costs(
            self.language, self.pieces + other.pieces, self.notes + other.notes, self.seconds + other.seconds, kinds
        )

    def plain(self) -> dict[str, Any]:
        """Everything as JSON data, with the rates that models are compared by."""
        told = {
            "pieces": self.pieces,
            "tokens": self.whole.tokens,
            "notes": self.notes,
            "seconds": round(self.seconds, 1),
            "bits": round(self.whole.bits, 1),
            "bits_per_character": _rounded(self.per_token) if self.language == "abc" else None,
            "bits_per_token": _rounded(self.per_token),
            "bits_per_note": _rounded(self.per_note) if self.notes else None,
            "bits_per_second": _rounded(self.per_second) if self.seconds else None,
            "accuracy": round(self.whole.accuracy, 4),
        }
        ordered = sorted(self.kinds.items(), key=lambda one: -one[1].tokens)
        return {**told, "kinds": {name: kind.plain() for name, kind in ordered if kind.tokens}}


@dataclass(frozen=True)
class Reckoning:
    """What a model paid for some pieces, and which ones it could not read."""

    # By source, and of all under "all", which comes first.
    by_source: dict[str, Costs]
    # How many pieces were left out, by reason.
    left_out: dict[str, int]


def reckon(predictor: Predictor, pieces: Sequence[Piece], language: str, longest: int = 0) -> Reckoning:
    """Read pieces whole from a fresh state, in the code that the model speaks.

    longest: ids of a document that are read, 0 for all; of one that is cut, the notes and their share of the seconds
    that were read count. Raises UserError when no piece can be read.
    """
    left_out: dict[str, int] = {}
    documents, kept = [], []
    for piece in pieces:
        try:
            ids = piece.document(language)
        except (UserError, NotationError) as error:
            reason = error.message if isinstance(error, NotationError) else str(error)
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        documents.append(np.asarray(ids, dtype=np.int64))
        kept.append(piece)
    if not kept:
        first = next(iter(left_out), "there is none")
        raise UserError(f"no piece of the corpus can be read by a model of '{language}': {first}")
    cut = [ids[: longest + 1] if longest else ids for ids in documents]
    by_source: dict[str, Costs] = {}
    for piece, ids, read, guess in zip(kept, documents, cut, predictor.read(cut), strict=True):
        costs = _costs(piece, ids, len(read), guess, language, predictor.vocabulary)
        by_source[piece.source] = by_source.get(piece.source, Costs(language)) + costs
    every = sum(by_source.values(), Costs(language))
    return Reckoning({"all": every, **dict(sorted(by_source.items()))}, left_out)


def _costs(piece: Piece, ids: np.ndarray, read: int, guess: Guess, language: str, vocabulary: int) -> Costs:
    kinds = kinds_of(ids, language, vocabulary)
    places = kinds.places[1:read]
    size = len(kinds.names)
    tokens, hits = np.bincount(places, minlength=size), np.bincount(places[guess.hits], minlength=size)
    bits = np.bincount(places, guess.bits, size)
    notes, whole = int(kinds.notes[:read].sum()), int(kinds.notes.sum())
    return Costs(
        language,
        1,
        notes,
        seconds_of(piece) * notes / max(1, whole),
        {
            name: KindCost(int(tokens[place]), float(bits[place]), int(hits[place]))
            for place, name in enumerate(kinds.names)
            if tokens[place]
        },
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
