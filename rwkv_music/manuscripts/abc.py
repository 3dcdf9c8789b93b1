"""Tunes in ABC: the manuscript of models that write a character a token."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from rwkv_music.closing import close_tune
from rwkv_music.counting import BarCount
from rwkv_music.manuscripts.abc_free import TOKENIZER, FreeAbc
from rwkv_music.manuscripts.along import Along
from rwkv_music.opening import Opening
from rwkv_music.works import Tune
from rwkv_music_tokenizers.abc_grammar import AbcGrammar
from rwkv_music_tokenizers.abc_lexer import lex
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.grammar import Grammar, Limits
from rwkv_music_tokenizers.tempos import starting_tempo

# Prompts that have been followed to their end, kept ready to go on from.
READY = 16
# Signs that would change the note before them.
TO_NOTE_BEFORE = [ord(sign) for sign in "0123456789/',<>-"]


@dataclass(frozen=True)
class AbcManuscript:
    """See `Manuscript`."""

    opening: Opening

    @property
    def language(self) -> str:
        """See `Manuscript.language`."""
        return TOKENIZER.name

    @property
    def end(self) -> int:
        """See `Manuscript.end`."""
        return TOKENIZER.eos

    @property
    def prompt(self) -> str:
        """See `Manuscript.prompt`."""
        return self.opening.prompt

    @property
    def tempo(self) -> Fraction:
        """See `Manuscript.tempo`."""
        # A header alone is no tune that could be read.
        return starting_tempo(read_abc(f"{self.opening.prompt.rstrip()}\nz"))

    def heard(self) -> tuple[int, ...]:
        """See `Manuscript.heard`."""
        return (TOKENIZER.bos, *TOKENIZER.encode(self.opening.heard))

    def grammar(self, free: bool, limits: Limits) -> Grammar:
        """See `Manuscript.grammar`."""
        if not free:
            return _grammar(self.opening.heard, limits).clone()
        grammar = _free(self.opening.heard).clone()
        return Untouched(grammar) if self.opening.inside else grammar

    @property
    def ends(self) -> frozenset[int]:
        """See `Manuscript.ends`."""
        return frozenset((self.end,))

    @property
    def weights(self) -> np.ndarray | None:
        """See `Manuscript.weights`."""
        return None

    @property
    def beginning(self) -> str:
        """See `Manuscript.beginning`."""
        return self.opening.written

    def shown(self, token: int) -> str:
        """See `Manuscript.shown`."""
        return chr(token)

    def bars(self, made: Sequence[int], ended: bool) -> Fraction:
        """See `Manuscript.bars`."""
        count = self._count(made)
        return count.bars + (count.unfinished() if self._whole(count, made, ended) else 0)

    def marks(self) -> list[int]:
        """See `Manuscript.marks`; the header belongs to the first bar."""
        return list(_marks(self.opening.heard))

    def notes(self, ids: Sequence[int]) -> int:
        """See `Manuscript.notes`; notes of chords count each, graces too."""
        music = re.sub(r"^[A-Za-z]:.*$", "", TOKENIZER.decode(ids), flags=re.MULTILINE)
        return sum(token.kind == "note" for token in lex(f"K:C\n{music}"))

    def work(self, made: Sequence[int], ended: bool) -> Tune:
        """See `Manuscript.work`."""
        return Tune(
            close_tune(
                self.written(made), len(self.opening.written), complete=self._whole(self._count(made), made, ended)
            )
        )

    def written(self, made: Sequence[int]) -> str:
        """The tune so far: the prompt as it was written, and every character of new music."""
        prompt, new = self.opening.written, TOKENIZER.decode(made)
        # An empty line would end the tune.
        return prompt + (new.lstrip("\n") if prompt.endswith("\n") else new)

    def plain(self) -> Mapping[str, Any]:
        """See `Manuscript.plain`."""
        return asdict(self.opening)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "AbcManuscript":
        """The manuscript whose `plain()` this was. Raises ValueError, KeyError or TypeError when it is none."""
        opening = Opening(**{field.name: plain[field.name] for field in fields(Opening)})
        if not all(isinstance(value, str) for value in (opening.prompt, opening.written, opening.heard)):
            raise ValueError("the opening must be text")
        return cls(opening)

    def _count(self, made: Sequence[int]) -> BarCount:
        count = _counted(self.opening.heard).clone()
        count.follow(TOKENIZER.decode(made))
        return count

    def _whole(self, count: BarCount, made: Sequence[int], ended: bool) -> bool:
        """The last bar may stay although no line ends it."""
        moment = count.moment()
        full = not moment.inside and not moment.tuplet_left and not moment.broken
        return full and len(made) > 0 and (ended or moment.left == 0)


@lru_cache(READY)
def _grammar(heard: str, limits: Limits) -> AbcGrammar:
    """Not to be changed, as all that is kept ready."""
    return AbcGrammar(heard, limits)


@lru_cache(READY)
def _free(heard: str) -> FreeAbc:
    return FreeAbc(heard)


@lru_cache(READY)
def _counted(heard: str) -> BarCount:
    return BarCount(heard)


@lru_cache(READY)
def _marks(heard: str) -> tuple[int, ...]:
    count, marks, bars = BarCount(), [1], 0
    for place, character in enumerate(heard, start=1):
        count.follow(character)
        if character == "|" and (now := count.moment().bars) > bars:
            bars = now
            marks.append(place + 1)
    return tuple(mark for mark in marks if mark <= len(heard))


class Untouched(Along):
    """Free ABC in which new music changes nothing of the note that the prompt ends with."""

    def __init__(self, grammar: FreeAbc):
        super().__init__(grammar)
        self._begun = False

    def allowed(self) -> np.ndarray:
        """See `Grammar.allowed`."""
        self._grammar.ending = self.ending
        allowed = self._grammar.allowed()
        if not self._begun:
            allowed = allowed.copy()
            allowed[TO_NOTE_BEFORE] = False
        return allowed

    def follow(self, token: int) -> None:
        """See `Grammar.follow`."""
        super().follow(token)
        self._begun = self._begun or not chr(token).isspace()
