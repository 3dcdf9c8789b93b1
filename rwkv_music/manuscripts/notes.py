"""Music in notes: the manuscript of our own MIDI models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rwkv_music.manuscripts.spoken import Freed, Spoken, name_of
from rwkv_music.works import Played
from rwkv_music_tokenizers.grammar import NO_LIMITS, Grammar, Limits
from rwkv_music_tokenizers.note_grammar import NoteGrammar
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    DRUM,
    EOS,
    FIELD,
    FREE,
    GRID,
    PITCH,
    PLACE,
    SPECIAL,
    TEMPO,
    TEMPOS,
    TIME,
)

TOKENIZER = NoteTokenizer()
# Prompts that have been followed to their end, kept ready to go on from.
READY = 16
# The longest prompt, in tokens.
PROMPT_LIMIT = 200_000
# What stands only at the beginning of a document, or nowhere yet.
# In units of 10 ms.
TWO_SECONDS = 200
NO_MUSIC = [*range(SPECIAL, BAR), *range(FREE, TOKENIZER.vocabulary_size)]


@dataclass(frozen=True)
class NotesManuscript(Spoken):
    """See `Manuscript`. The prompt is a document of notes without its end."""

    ids: tuple[int, ...]
    title: str = ""

    @property
    def language(self) -> str:
        """See `Manuscript.language`."""
        return TOKENIZER.name

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
        return TOKENIZER.text(self.ids)

    @property
    def tempo(self) -> Fraction:
        """See `Manuscript.tempo`; of music as performed 120, as its grammar counts."""
        told = [TEMPOS[PLACE[token]] for token in self.ids if FIELD[token] == TEMPO]
        return Fraction(told[0] if told else 120)

    def heard(self) -> tuple[int, ...]:
        """See `Manuscript.heard`."""
        return self.ids

    def grammar(self, free: bool, limits: Limits) -> Grammar:
        """See `Manuscript.grammar`."""
        grammar = _grammar(self.ids, limits).clone()
        return Freed(grammar, TOKENIZER.vocabulary_size, EOS, NO_MUSIC) if free else grammar

    def shown(self, token: int) -> str:
        """See `Manuscript.shown`."""
        if token == BAR:
            return "| "
        if FIELD[token] == PITCH:
            return f"{name_of(int(PLACE[token]))} "
        return "x " if FIELD[token] == DRUM else ""

    def bars(self, made: Sequence[int], ended: bool) -> Fraction:
        """See `Manuscript.bars`."""
        grammar = _grammar(self.ids, NO_LIMITS).clone()
        for token in made:
            grammar.follow(token)
        return grammar.bars

    def marks(self) -> list[int]:
        """See `Manuscript.marks`; the header belongs to the first bar."""
        if GRID in self.ids[:2]:
            bars = [place for place, token in enumerate(self.ids) if token == BAR]
            return [1, *bars[1:]]
        marks, time = [1], 0
        for place, token in enumerate(self.ids):
            if FIELD[token] == TIME:
                time += int(PLACE[token])
                if time >= TWO_SECONDS:
                    marks.append(place)
                    time = 0
        return marks

    def notes(self, ids: Sequence[int]) -> int:
        """See `Manuscript.notes`."""
        return sum(FIELD[token] in (PITCH, DRUM) for token in ids)

    def work(self, made: Sequence[int], ended: bool) -> Played:
        """See `Manuscript.work`."""
        return Played(replace(TOKENIZER.decode([*self.ids, *made]), title=self.title))

    def plain(self) -> Mapping[str, Any]:
        """See `Manuscript.plain`."""
        return {"prompt": self.prompt, "title": self.title}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "NotesManuscript":
        """The manuscript whose `plain()` this was. Raises ValueError, KeyError or TypeError when it is none."""
        ids = tuple(int(token) for token in TOKENIZER.from_text(plain["prompt"]))
        if not 0 < len(ids) <= PROMPT_LIMIT or not isinstance(plain["title"], str):
            raise ValueError(f"a prompt has 1 to {PROMPT_LIMIT} tokens and a title, not {len(ids)} tokens")
        if ids[0] != TOKENIZER.bos or any(FIELD[token] == SPECIAL and token == EOS for token in ids):
            raise ValueError("a prompt begins with <bos> and does not end")
        return cls(ids, plain["title"])


@lru_cache(READY)
def _grammar(ids: tuple[int, ...], limits: Limits) -> NoteGrammar:
    """Not to be changed."""
    return NoteGrammar(ids, limits)
