"""How a performance, or nothing, opens a piece in the words of the published MIDI models."""

from rwkv_music.catalogue import published_models
from rwkv_music.errors import UsageError, UserError
from rwkv_music.manuscripts.open_notes import first_bars
from rwkv_music.manuscripts.wishes import NO_WISHES, Wishes
from rwkv_music.manuscripts.words import PROMPT_LIMIT, VOCABULARIES, WordsManuscript
from rwkv_music.opening import Header
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_to_words import performance_to_words


def open_words(language: str, played: Performance | None = None, wishes: Wishes = NO_WISHES) -> WordsManuscript:
    """The manuscript that goes on from a performance, or begins a piece.

    Raises UserError for a prompt that is too long or has no instrument of the vocabulary, and for wishes that words
    cannot say.
    """
    words = VOCABULARIES[language]
    header = wishes.header
    if wishes.instruments or header != Header(title=header.title):
        raise UsageError(
            f"a model of '{language}' knows neither key, meter, tempo nor a list of instruments: "
            "give a prompt that has them, or --only to keep to some"
        )
    begin, end = separators(language)
    if played is None:
        return WordsManuscript(words, (), begin, end, header.title)
    piece = played if wishes.prompt_bars is None else first_bars(played, wishes.prompt_bars)
    ids = tuple(performance_to_words(piece, words))
    if not ids:
        raise UserError(f"no instrument of the prompt is one of '{language}'")
    if len(ids) > PROMPT_LIMIT:
        raise UserError(f"the prompt is {len(ids):,} tokens; at most {PROMPT_LIMIT:,} can be heard (--prompt-bars)")
    return WordsManuscript(words, ids, begin, end, header.title or piece.title)


def separators(language: str) -> tuple[int, int]:
    """The ids that begin and end a piece for the published models of a vocabulary."""
    told = next(model.separators for model in published_models().values() if model.tokenizer == language)
    assert told is not None, "published models of words have separators"
    return told["begin"], told["end"]
