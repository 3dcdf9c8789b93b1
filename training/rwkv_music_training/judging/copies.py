"""How much of some pieces stands in the training set already, whatever the key."""

from collections.abc import Sequence

import numpy as np

from rwkv_music_tokenizers.abc_tokens import decode
from rwkv_music_tokenizers.transpose import singable_shifts, transpose_abc
from rwkv_music_training.judging.copying import Symbols, longest_shared
from rwkv_music_training.judging.kinds import body_start
from rwkv_music_training.judging.pieces import performance_of
from rwkv_music_training.judging.sharing import Sharing
from rwkv_music_training.judging.steps import steps


class Known:
    """A training set by its symbols: of ABC the characters of the music in every singable key, else the steps of notes."""

    def __init__(self, documents: Sequence[np.ndarray], language: str):
        """documents: ids (n,) in the code; raises NotationError for one that is none."""
        self._language = language
        self.pieces = len(documents)
        rows = [row for ids in documents for row in self._every_key(ids)]
        self._rows = list({row.tobytes(): row for row in rows}.values())

    @property
    def unit(self) -> str:
        """What a stretch is counted in."""
        return "characters" if self._language == "abc" else "notes"

    def share(self, documents: Sequence[np.ndarray]) -> Sharing:
        """The longest stretch of each document that stands in the training set."""
        return Sharing(tuple(longest_shared([symbols_of(ids, self._language) for ids in documents], self._rows)))

    def _every_key(self, ids: np.ndarray) -> list[Symbols]:
        if self._language != "abc":
            return [symbols_of(ids, self._language)]
        text = decode(ids.tolist())
        return [characters(transpose_abc(text, shift) if shift else text) for shift in singable_shifts(text)]


def symbols_of(ids: np.ndarray, language: str) -> Symbols:
    """What copies of a document are told by."""
    return characters(decode(ids.tolist())) if language == "abc" else steps(performance_of(ids, language))


def characters(text: str) -> Symbols:
    """The music of a tune, what follows its K: line, character by character."""
    music = text[body_start(text) :].encode("ascii", "replace")
    return np.frombuffer(music, dtype=np.uint8).astype(np.uint16)
