"""What the manuscripts of MIDI models share: names of notes, and a grammar that only counts."""

from collections.abc import Iterable

import numpy as np

from rwkv_music.manuscripts.along import Along
from rwkv_music_tokenizers.grammar import Ending, Grammar

NAMES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]


def name_of(pitch: int) -> str:
    """A pitch, 0..127, as musicians call it: 60 is C4."""
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


class Spoken:
    """A manuscript of tokens that are not text."""

    @property
    def weights(self) -> np.ndarray | None:
        """See `Manuscript.weights`."""
        return None

    @property
    def beginning(self) -> str:
        """See `Manuscript.beginning`."""
        return ""


class Freed(Along):
    """Whatever a model likes, but for ids that are no music; the code's own grammar only counts along."""

    def __init__(self, grammar: Grammar, size: int, end: int, never: Iterable[int]):
        """size: of the vocabulary; end: the id that ends a piece; never: ids that are no music."""
        super().__init__(grammar)
        self._end = end
        self._possible = np.ones(size, dtype=bool)
        self._possible[list(never)] = False

    def allowed(self) -> np.ndarray:
        """See `Grammar.allowed`; a piece that must end ends at its next bar or cut."""
        allowed = self._possible.copy()
        allowed[self._end] = self.ending is not Ending.NEVER
        if self.ending is Ending.MUST and self.at_bar:
            allowed[:] = False
            allowed[self._end] = True
        return allowed
