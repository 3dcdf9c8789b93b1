"""Music that models are judged by: each piece knows its notes and seconds, and its document in any model's code."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from rwkv_music.errors import UserError
from rwkv_music.manuscripts.wishes import NO_WISHES
from rwkv_music.prompts import Source, open_source
from rwkv_music.works import Tune
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance

ABC, NOTES = AbcTokenizer(), NoteTokenizer()


class Piece(Protocol):
    """One piece of a collection."""

    @property
    def name(self) -> str:
        """What it is called in its collection."""
        ...

    @property
    def source(self) -> str:
        """Which collection it came from."""
        ...

    @property
    def performance(self) -> Performance:
        """How it sounds. Raises NotationError for a tune that cannot be played."""
        ...

    def document(self, language: str) -> np.ndarray:
        """Its ids (n,) in a code, with those that begin and end it. Raises UserError where the code cannot say it."""
        ...


@dataclass(frozen=True, eq=False)
class TunePiece:
    """A tune in ABC; `text` is as models see it, without X: and T: lines."""

    name: str
    source: str
    text: str

    @property
    def performance(self) -> Performance:
        """See `Piece.performance`."""
        return self._performance

    @cached_property
    def _performance(self) -> Performance:
        return Tune(f"X:1\n{self.text}").performance

    def document(self, language: str) -> np.ndarray:
        """See `Piece.document`."""
        if language == ABC.name:
            return np.array(ABC.document(self.text), dtype=np.int64)
        return document_of(self.performance, language)


@dataclass(frozen=True, eq=False)
class PlayedPiece:
    """A piece as it is played."""

    name: str
    source: str
    performance: Performance

    def document(self, language: str) -> np.ndarray:
        """See `Piece.document`."""
        return document_of(self.performance, language)


@dataclass(frozen=True, eq=False)
class KeptPiece:
    """A document of a tokenised corpus; in its own code it is as it was kept, in others what it sounds like."""

    name: str
    source: str
    language: str
    ids: np.ndarray

    @property
    def performance(self) -> Performance:
        """See `Piece.performance`."""
        return self._performance

    @cached_property
    def _performance(self) -> Performance:
        return performance_of(self.ids, self.language)

    def document(self, language: str) -> np.ndarray:
        """See `Piece.document`."""
        return self.ids if language == self.language else document_of(self.performance, language)


def document_of(performance: Performance, language: str) -> np.ndarray:
    """A performance in a code, (n,) int64. Raises UserError for what it cannot say."""
    if language == ABC.name:
        raise UserError("a model of ABC cannot read MIDI: choose a corpus of ABC, or a model of MIDI")
    if language == NOTES.name:
        return NOTES.encode(performance).astype(np.int64)
    manuscript = open_source(Source(performance=performance), language, NO_WISHES)
    return np.array([*manuscript.heard(), manuscript.end], dtype=np.int64)


def performance_of(ids: Sequence[int] | np.ndarray, language: str) -> Performance:
    """What a document sounds like, also one that was cut. Raises NotationError, or UserError for a code without one."""
    told = [int(one) for one in ids]
    if language == ABC.name:
        return Tune(f"X:1\n{ABC.decode(told)}").performance
    if language == NOTES.name:
        return NOTES.decode(told)
    if language == "remi":
        from rwkv_music.manuscripts.remi import tokenizer
        from rwkv_music_tokenizers.remi_vocabulary import BAR

        return tokenizer().decode([one for one in told if one >= BAR])
    from rwkv_music.manuscripts.words import VOCABULARIES
    from rwkv_music_tokenizers.words_to_performance import words_to_performance

    if language not in VOCABULARIES:
        raise UserError(f"'{language}' is no code of ours")
    return words_to_performance(told[1:], VOCABULARIES[language])


def seconds_of(piece: Piece) -> float:
    """How long a piece sounds; 0 where it cannot be played."""
    try:
        performance = piece.performance
    except NotationError:
        return 0.0
    return float(performance.seconds(np.array([performance.end]))[0])
