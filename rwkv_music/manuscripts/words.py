"""Music in the words of the published MIDI models, which press and release keys and let time pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from rwkv_music.catalogue import published_models
from rwkv_music.errors import UserError
from rwkv_music.manuscripts.spoken import Freed, Spoken, name_of
from rwkv_music.sampling import Recipe
from rwkv_music.works import Played
from rwkv_music_tokenizers.grammar import Grammar, Limits
from rwkv_music_tokenizers.midi_recipe import MidiRecipe, midi_recipe
from rwkv_music_tokenizers.midi_words import END, FIRST_NOTE, FIRST_WAIT, MIDI, MIDI_PIANO, MIDI_V2, MidiWords
from rwkv_music_tokenizers.words_to_performance import words_to_performance

VOCABULARIES = {words.name: words for words in (MIDI, MIDI_PIANO)}
# Besides, rules that no published model is known to have been trained by.
RULES = {**VOCABULARIES, MIDI_V2.name: MIDI_V2}
# The longest prompt, in tokens.
PROMPT_LIMIT = 400_000
# In units of 8 ms.
TWO_SECONDS = 250


@cache
def recipe_of(language: str) -> MidiRecipe:
    """How the published models of a vocabulary are drawn from."""
    told = next(model for model in published_models().values() if model.tokenizer == language)
    return midi_recipe(VOCABULARIES[language], told.sampling)


def published_recipe(language: str) -> Recipe | None:
    """What the makers of a vocabulary's published models do before they draw; None where that is nothing."""
    told = recipe_of(language)
    recipe = Recipe(**{field.name: getattr(told, field.name) for field in fields(Recipe)})
    return None if recipe == Recipe(end=told.end) else recipe


@dataclass(frozen=True)
class WordsManuscript(Spoken):
    """See `Manuscript`. The prompt is a document without its end; begin and end are the ids that the model learnt."""

    words: MidiWords
    ids: tuple[int, ...]
    begin: int
    end: int
    title: str = ""

    @property
    def language(self) -> str:
        """See `Manuscript.language`."""
        return self.words.name

    @property
    def prompt(self) -> str:
        """See `Manuscript.prompt`."""
        return self.words.decode(self.ids, specials=True)

    @property
    def tempo(self) -> Fraction:
        """See `Manuscript.tempo`; words know none, and their grammar counts at 120."""
        return Fraction(120)

    @property
    def ends(self) -> frozenset[int]:
        """See `Manuscript.ends`."""
        return frozenset((self.end, END))

    @property
    def weights(self) -> np.ndarray:
        """See `Manuscript.weights`; releases count nothing, so that no key is kept down for want of odds."""
        return recipe_of(self.language).weights

    def heard(self) -> tuple[int, ...]:
        """See `Manuscript.heard`."""
        return (self.begin, *self.ids)

    def grammar(self, free: bool, limits: Limits) -> Grammar:
        """See `Manuscript.grammar`. Raises UserError for limits that leave nothing to play."""
        from rwkv_music_tokenizers.midi_word_grammar import MidiWordGrammar

        try:
            grammar = MidiWordGrammar(self.words, limits)
        except ValueError as error:
            raise UserError(str(error)) from None
        for token in self.heard():
            grammar.follow(token)
        return Freed(grammar, self.words.vocabulary_size, self.end, range(FIRST_WAIT)) if free else grammar

    def shown(self, token: int) -> str:
        """See `Manuscript.shown`."""
        note = self.words.note(token) if token >= FIRST_NOTE else None
        if note is None or not note.level:
            return ""
        return "x " if self.words.instruments[note.instrument].drums else f"{name_of(note.pitch)} "

    def bars(self, made: Sequence[int], ended: bool) -> Fraction:
        """See `Manuscript.bars`; a bar is two seconds, as the grammar of words has it."""
        waits = sum(token - FIRST_WAIT + 1 for token in made if FIRST_WAIT <= token < FIRST_NOTE)
        return Fraction(waits, TWO_SECONDS)

    def marks(self) -> list[int]:
        """See `Manuscript.marks`."""
        marks, time = [1], 0
        for place, token in enumerate(self.ids, start=1):
            if FIRST_WAIT <= token < FIRST_NOTE:
                time += token - FIRST_WAIT + 1
                if time >= TWO_SECONDS:
                    marks.append(place)
                    time = 0
        return marks

    def notes(self, ids: Sequence[int]) -> int:
        """See `Manuscript.notes`."""
        return sum(token >= FIRST_NOTE and self.words.note(token).level > 0 for token in ids)

    def work(self, made: Sequence[int], ended: bool) -> Played:
        """See `Manuscript.work`."""
        return Played(replace(words_to_performance([*self.ids, *made], self.words), title=self.title))

    def plain(self) -> Mapping[str, Any]:
        """See `Manuscript.plain`."""
        return {"prompt": self.prompt, "begin": self.begin, "end": self.end, "title": self.title}

    @classmethod
    def from_plain(cls, language: str, plain: Mapping[str, Any]) -> "WordsManuscript":
        """The manuscript whose `plain()` this was. Raises ValueError, KeyError or TypeError when it is none."""
        words = VOCABULARIES[language]
        ids = tuple(words.encode(plain["prompt"]))
        if len(ids) > PROMPT_LIMIT or not isinstance(plain["title"], str):
            raise ValueError(f"a prompt has at most {PROMPT_LIMIT} tokens, and a title")
        if plain["begin"] not in (0, 1) or plain["end"] not in (0, 2):
            raise ValueError("a document begins with <pad> or <start>, and ends with <pad> or <end>")
        return cls(words, ids, plain["begin"], plain["end"], plain["title"])
