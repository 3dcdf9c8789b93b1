"""The codes that a corpus can be written in: what their ids are, and what tells one vocabulary from another."""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from rwkv_music_tokenizers import note_vocabulary
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.midi_words import VOCABULARIES, MidiWords
from rwkv_music_training.corpus.errors import CorpusError

ABC_CODE, NOTES_CODE = "abc", "notes"
CODES = (ABC_CODE, NOTES_CODE, *VOCABULARIES)


@dataclass(frozen=True)
class Code:
    """A vocabulary, and the ids between which documents stand."""

    name: str
    vocabulary: int
    begin: int
    end: int
    # The sha256 of its words in the order of their ids, a line each.
    sha256: str

    @property
    def dtype(self) -> np.dtype:
        """How ids are kept on disk, low byte first."""
        return np.dtype("<u2" if self.vocabulary <= 1 << 16 else "<u4")


@cache
def find_code(name: str) -> Code:
    """The code of a name. Raises CorpusError for a name of none."""
    if name == ABC_CODE:
        abc = AbcTokenizer()
        return Code(name, abc.vocabulary_size, abc.bos, abc.eos, _sha256(tuple(map(str, range(abc.vocabulary_size)))))
    if name == NOTES_CODE:
        begin, end = note_vocabulary.BOS, note_vocabulary.EOS
        return Code(name, note_vocabulary.SIZE, begin, end, note_vocabulary.vocabulary_sha256())
    words = words_of(name)
    return Code(name, words.vocabulary_size, words.bos, words.eos, _sha256(words.words))


def words_of(name: str) -> MidiWords:
    """The vocabulary of a published MIDI model. Raises CorpusError for a name of none."""
    if name not in VOCABULARIES:
        raise CorpusError(f"there is no code {name!r}: expected one of {', '.join(CODES)}")
    return VOCABULARIES[name]


def _sha256(words: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()
