"""The MIDI vocabularies as the tokenizer files that are published with the models: written, read and recognised."""

import json

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import WhitespaceSplit

from rwkv_music_tokenizers.midi_words import SPECIALS, VOCABULARIES, MidiWords

# The larger of the two published files has half a megabyte.
MAX_CHARACTERS = 4_000_000


def published_tokenizer(words: MidiWords) -> Tokenizer:
    """The tokenizer that is published as `tokenizer-midi.json` or `tokenizer-midipiano.json`.

    It takes any text: a word that it does not know becomes 0 without a word, which is the separator of documents.
    `MidiWords.encode` refuses such words.
    """
    tokenizer = Tokenizer(WordLevel(words.ids, unk_token=SPECIALS[0]))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in SPECIALS])
    return tokenizer


def recognise(text: str) -> MidiWords:
    """The vocabulary of a tokenizer.json, whose text is given. Raises ValueError for any other file."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a tokenizer file of a MIDI model has at most {MAX_CHARACTERS} characters, not {len(text)}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not a tokenizer file: it must be JSON as the tokenizers library writes it") from None
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    for words in VOCABULARIES.values():
        if vocabulary == words.ids:
            return words
    known = " or ".join(f"{words.name}'s {words.vocabulary_size} words" for words in VOCABULARIES.values())
    raise ValueError(f"a vocabulary that is not known here: expected {known} in the published order")
