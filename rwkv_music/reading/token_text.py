"""A piece as the words of a code, in a text file that says which code it is in."""

import re

from rwkv_music.errors import UserError
from rwkv_music_tokenizers.midi_words import MIDI, MIDI_PIANO
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_to_words import performance_to_words
from rwkv_music_tokenizers.words_to_performance import words_to_performance

WORDS = {words.name: words for words in (MIDI, MIDI_PIANO)}
NOTES = NoteTokenizer()
CODES = (NOTES.name, *WORDS)
FIRST_LINE = re.compile(r"#\s*tokenizer:\s*(\S+)\s*\n")


def write_tokens(piece: Performance, code: str) -> str:
    """The text of a piece in one of CODES. Raises ValueError for a piece that is too long for it."""
    if code == NOTES.name:
        text = NOTES.text(NOTES.encode(piece))
    else:
        words = WORDS[code]
        text = words.decode([words.bos, *performance_to_words(piece, words), words.eos], specials=True)
    return f"# tokenizer: {code}\n{text}\n"


def read_tokens(text: str) -> Performance:
    """The piece that a text holds: in the code that its first line names, or else that its words are of.

    Raises UserError for another code and for words that are none.
    """
    told = FIRST_LINE.match(text)
    body = text[told.end() :] if told else text
    code = told[1] if told else NOTES.name if body.lstrip().startswith("<bos>") else MIDI.name
    if code not in CODES:
        raise UserError(f"the first line names the code {code[:40]!r}; known are {', '.join(CODES)}")
    try:
        if code == NOTES.name:
            return NOTES.decode(NOTES.from_text(body))
        return words_to_performance(WORDS[code].encode(body), WORDS[code])
    except ValueError as error:
        raise UserError(f"in the code '{code}': {error}") from None
