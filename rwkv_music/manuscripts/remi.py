"""Music in RWKV-Runner's REMI: bars of 4/4 at 120 quarters a minute, whatever a prompt's meter and tempo were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music.manuscripts.spoken import Freed, Spoken, name_of
from rwkv_music.works import Played
from rwkv_music_tokenizers.grammar import Grammar, Limits
from rwkv_music_tokenizers.grid_tokens import GridTokenizer, runner_remi
from rwkv_music_tokenizers.remi_grammar import RemiGrammar
from rwkv_music_tokenizers.remi_vocabulary import (
    BAR,
    BOS,
    CHORD,
    DRUM,
    EOS,
    LOWEST,
    MASK,
    PAD,
    PITCH,
    SIZE,
    VELOCITY,
    remi_ids,
    remi_text,
)

# The longest prompt, in tokens.
PROMPT_LIMIT = 200_000
NO_MUSIC = (PAD, BOS, MASK)


@cache
def tokenizer() -> GridTokenizer:
    """MidiTok's, set as RWKV-Runner sets it. Raises ValueError where MidiTok is not installed."""
    return runner_remi()


@dataclass(frozen=True)
class RemiManuscript(Spoken):
    """See `Manuscript`. The prompt is a piece without what begins and ends a document."""

    ids: tuple[int, ...]
    title: str = ""

    @property
    def language(self) -> str:
        """See `Manuscript.language`."""
        return "remi"

    @property
    def end(self) -> int:
        """See `Manuscript.end`."""
        return EOS

    @property
    def ends(self) -> frozenset[int]:
        """See `Manuscript.ends`."""
        return frozenset((EOS,))

    @property
    def prompt(self) -> str:
        """See `Manuscript.prompt`."""
        return remi_text(self.ids)

    @property
    def tempo(self) -> Fraction:
        """See `Manuscript.tempo`; this code knows none."""
        return Fraction(120)

    def heard(self) -> tuple[int, ...]:
        """See `Manuscript.heard`."""
        return (BOS, *self.ids)

    def grammar(self, free: bool, limits: Limits) -> Grammar:
        """See `Manuscript.grammar`. Raises UserError for limits that leave nothing to play."""
        try:
            grammar = RemiGrammar(self.ids, limits)
        except ValueError as error:
            raise UserError(str(error)) from None
        return Freed(grammar, SIZE, EOS, NO_MUSIC) if free else grammar

    def shown(self, token: int) -> str:
        """See `Manuscript.shown`."""
        if token == BAR:
            return "| "
        if PITCH <= token < VELOCITY:
            return f"{name_of(token - PITCH + LOWEST)} "
        return "x " if DRUM <= token < CHORD else ""

    def bars(self, made: Sequence[int], ended: bool) -> Fraction:
        """See `Manuscript.bars`."""
        grammar = RemiGrammar(self.ids)
        for token in (*made, EOS) if ended else made:
            grammar.follow(token)
        return grammar.bars

    def marks(self) -> list[int]:
        """See `Manuscript.marks`."""
        bars = [place for place, token in enumerate(self.heard()) if token == BAR]
        return [1, *bars[1:]]

    def notes(self, ids: Sequence[int]) -> int:
        """See `Manuscript.notes`."""
        return sum(PITCH <= token < VELOCITY or DRUM <= token < CHORD for token in ids)

    def work(self, made: Sequence[int], ended: bool) -> Played:
        """See `Manuscript.work`."""
        return Played(replace(tokenizer().decode([*self.ids, *made]), title=self.title))

    def plain(self) -> Mapping[str, Any]:
        """See `Manuscript.plain`."""
        return {"prompt": self.prompt, "title": self.title}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "RemiManuscript":
        """The manuscript whose `plain()` this was. Raises ValueError, KeyError or TypeError when it is none.

        So it does where MidiTok is not installed.
        """
        tokenizer()
        if not isinstance(plain["prompt"], str) or not isinstance(plain["title"], str):
            raise TypeError("a prompt and a title are text")
        ids = tuple(remi_ids(plain["prompt"]))
        if len(ids) > PROMPT_LIMIT or any(token < BAR for token in ids):
            raise ValueError(f"a prompt has at most {PROMPT_LIMIT} tokens, and none that begins or ends a piece")
        return cls(ids, plain["title"])
