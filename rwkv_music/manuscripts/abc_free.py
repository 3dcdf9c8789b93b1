"""ABC as the model wants it, kept only from what would spoil the text: `--free`, and what grammar is measured against."""

from fractions import Fraction

import numpy as np

from rwkv_music.counting import BarCount
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.grammar import Ending

TOKENIZER = AbcTokenizer()
NEWLINE, COLON, BAR, BRACKET = map(ord, "\n:|]")
# Whatever is no text of a tune.
NEVER = [token for token in range(128) if token not in (TOKENIZER.eos, NEWLINE) and not chr(token).isprintable()]
# What may stand after a bar line before the next bar begins.
BETWEEN_BARS = frozenset("|:] \n")


class FreeAbc:
    """See `Grammar`: printable text without empty lines and empty sections, which ends after a bar at the soonest."""

    def __init__(self, before: str):
        """before: the prompt as the model hears it."""
        self.ending = Ending.MAY
        self.ended = False
        self.at_bar = False
        self._count = BarCount(before)
        self._last = before[-1:]

    def allowed(self) -> np.ndarray:
        """See `Grammar.allowed`; a free tune that must end ends at its next bar line."""
        allowed = np.ones(TOKENIZER.vocabulary_size, dtype=bool)
        allowed[NEVER] = False
        may_end = self.ending is not Ending.NEVER and self.bars >= 1 and not self._count.upbeat
        if not may_end:
            allowed[TOKENIZER.eos] = False
            if self._last == "|":
                # "|]" ends a tune.
                allowed[BRACKET] = False
        elif self.ending is Ending.MUST and self.at_bar:
            allowed[:] = False
            allowed[TOKENIZER.eos] = True
        if self._last == "\n":
            # An empty line would end the tune, and a repeat sign begins with a bar line.
            allowed[[NEWLINE, COLON]] = False
        if self._count.line_again:
            # "|:" may follow another line, the end of a section that holds nothing may not.
            allowed[[BAR, BRACKET]] = False
        return allowed

    def follow(self, token: int) -> None:
        """See `Grammar.follow`."""
        if token == TOKENIZER.eos:
            self.ended = True
            return
        character = chr(token)
        self._count.follow(character)
        self.at_bar = character == "|" or (self.at_bar and character in BETWEEN_BARS)
        self._last = character

    def clone(self) -> "FreeAbc":
        """See `Grammar.clone`."""
        twin = FreeAbc.__new__(FreeAbc)
        twin.__dict__.update(self.__dict__)
        twin._count = self._count.clone()
        return twin

    @property
    def bars(self) -> Fraction:
        """See `Grammar.bars`."""
        return self._count.bars

    @property
    def quarters(self) -> Fraction:
        """See `Grammar.quarters`."""
        return self._count.quarters
