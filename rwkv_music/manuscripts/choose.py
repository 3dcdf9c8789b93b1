"""Which code a model speaks, and the manuscript of that code."""

from collections.abc import Mapping
from typing import Any

from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.manuscripts.manuscript import Manuscript

# Number of ids of each code; a model without a config is taken by it.
LANGUAGES = {"abc": 128, "remi": 427, "notes": 896, "midipiano": 2176, "midi": 20096}


def check_size(told: str, size: int) -> str:
    """The code of a model with so many ids, whose config tells `told` ("": nothing). Raises UserError for none of ours."""
    language = told or next((name for name, number in LANGUAGES.items() if number == size), "")
    if LANGUAGES.get(language) == size:
        return language
    known = ", ".join(f"'{name}' ({number})" for name, number in LANGUAGES.items())
    raise UserError(f"this model has {size} tokens of {language or 'an unknown code'}; known are {known}")


def language_of(engine: Engine) -> str:
    """The code that a model speaks: what its config says, else the one of its size. Raises UserError for none of ours."""
    return check_size(engine.config.tokenizer if engine.config else "", engine.spec.vocabulary)


def check_language(engine: Engine, language: str) -> None:
    """Raises UserError when a model speaks another code than a manuscript."""
    spoken = language_of(engine)
    if spoken != language:
        raise UserError(f"this model speaks '{spoken}', the prompt is made ready for '{language}'")


def manuscript_of(language: str, plain: Mapping[str, Any]) -> Manuscript:
    """The manuscript whose `plain()` this was. Raises ValueError, KeyError or TypeError when it is none."""
    if language == "abc":
        from rwkv_music.manuscripts.abc import AbcManuscript

        return AbcManuscript.from_plain(plain)
    if language == "notes":
        from rwkv_music.manuscripts.notes import NotesManuscript

        return NotesManuscript.from_plain(plain)
    if language == "remi":
        from rwkv_music.manuscripts.remi import RemiManuscript

        return RemiManuscript.from_plain(plain)
    if language in ("midi", "midipiano"):
        from rwkv_music.manuscripts.words import WordsManuscript

        return WordsManuscript.from_plain(language, plain)
    raise ValueError(f"'{language}' is no code of ours")
