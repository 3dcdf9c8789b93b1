"""A grammar that follows another one, which counts; what may follow is its own to say."""

from fractions import Fraction
from typing import TypeVar

from rwkv_music_tokenizers.grammar import Ending, Grammar

Own = TypeVar("Own", bound="Along")


class Along:
    """All of `Grammar` but `allowed`."""

    def __init__(self, grammar: Grammar):
        self.ending = Ending.MAY
        self._grammar = grammar

    def follow(self, token: int) -> None:
        """See `Grammar.follow`."""
        self._grammar.follow(token)

    def clone(self: Own) -> Own:
        """See `Grammar.clone`."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._grammar = self._grammar.clone()
        return twin

    @property
    def ended(self) -> bool:
        """See `Grammar.ended`."""
        return self._grammar.ended

    @property
    def bars(self) -> Fraction:
        """See `Grammar.bars`."""
        return self._grammar.bars

    @property
    def at_bar(self) -> bool:
        """See `Grammar.at_bar`."""
        return self._grammar.at_bar

    @property
    def quarters(self) -> Fraction:
        """See `Grammar.quarters`."""
        return self._grammar.quarters
