"""Notes: a flat code of music as it is played, in which a note carries its length, with bars or as performed.

A document is `<bos> <grid> kind meter key tempo (part program)*`, then for each bar `bar [meter] [key]`, then at rising
places in the bar `time [tempo]` and the notes that begin there, by part and pitch: `[part] [velocity] pitch length`, or
`[part] [velocity] drum`; at the end `<eos>`. As performed it is `<bos> <perf> kind [key] (part program)*` and no bars:
a time says how long after the one before, in 10 ms, and longer silences take several. What does not change is not said
again: the part, the part's velocity (of every part 64..71 at first), and at a bar the meter and the key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rwkv_music_tokenizers.note_encoder import batches, encode_documents
from rwkv_music_tokenizers.note_losses import LossReport, report_losses
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_reader import checked, read_document
from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    BOS,
    EOS,
    FIELD,
    NAMES,
    PAD,
    PITCH,
    PLACE,
    SIZE,
    transposition,
    vocabulary_sha256,
    word_tokenizer,
)
from rwkv_music_tokenizers.performance import Performance

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEFAULT_OPTIONS = NoteOptions()


@dataclass(frozen=True)
class NoteTokenizer:
    """The code of our own MIDI models, `note_vocabulary.NAMES`."""

    name: str = "notes"
    vocabulary_size: int = SIZE
    pad: int = PAD
    bos: int = BOS
    eos: int = EOS

    def encode(self, performance: Performance, options: NoteOptions = DEFAULT_OPTIONS) -> np.ndarray:
        """A whole document (n,) uint16. Raises ValueError for a piece longer than a document can be."""
        return encode_documents([performance], options).documents[0]

    def encode_many(
        self, performances: Iterable[Performance], options: NoteOptions = DEFAULT_OPTIONS
    ) -> list[np.ndarray]:
        """The document of each piece, as `encode` makes it, several times faster where pieces are short.

        Raises ValueError if one is longer than a document can be.
        """
        return [document for batch in batches(performances) for document in encode_documents(batch, options).documents]

    def encode_reported(
        self, performance: Performance, options: NoteOptions = DEFAULT_OPTIONS
    ) -> tuple[np.ndarray, LossReport]:
        """A whole document, as `encode` makes it, and what of the piece it does not say."""
        encoding = encode_documents([performance], options)
        return encoding.documents[0], report_losses(performance, encoding)

    def decode(self, ids: Iterable[int] | np.ndarray) -> Performance:
        """The music of a document, or of as much of it as there is.

        Tokens in a wrong place say nothing, a note without its length is left out. The music of a document's beginning
        is the beginning of its music, but that a stroke on a drum ends with the next. On the grid a quarter has 480
        ticks; as performed a tick is a millisecond. Raises ValueError for an id that is not in the vocabulary.
        """
        return read_document(_array(ids))

    def text(self, ids: Iterable[int] | np.ndarray) -> str:
        """The names of tokens, with blanks between. Raises ValueError for an id that is not in the vocabulary."""
        return " ".join(NAMES[token] for token in checked(_array(ids)).tolist())

    def from_text(self, text: str) -> np.ndarray:
        """The ids (n,) uint16 of names between blanks. Raises ValueError for a word that is no name."""
        tokenizer = word_tokenizer()
        unknown = next((word for word in text.split() if tokenizer.token_to_id(word) is None), None)
        if unknown is not None:
            raise ValueError(
                f"{unknown[:40]!r} is no token of notes; they are called like 'bar', 'time:12', 'pitch:60'"
            )
        return np.array(tokenizer.encode(text).ids, dtype=np.uint16)

    def tokenizer(self) -> "Tokenizer":
        """The vocabulary as an object of the `tokenizers` library: words between blanks."""
        return word_tokenizer()

    @property
    def sha256(self) -> str:
        """What tells this vocabulary from every other: the sha256 of its names, a line each."""
        return vocabulary_sha256()

    def bars(self, ids: Iterable[int] | np.ndarray) -> np.ndarray:
        """Where bars begin (n,): the places of their tokens."""
        return np.flatnonzero(_array(ids) == BAR)


def transposed(ids: np.ndarray, semitones: int) -> np.ndarray:
    """A document (n,) so many semitones higher, drums as they are, keys with at most six flats or five sharps.

    Raises ValueError where a pitch would leave 0..127; `range_of` tells how far it may go.
    """
    moved = transposition(semitones)[ids]
    if np.any((moved == PAD) & (np.asarray(ids) != PAD)):
        low, high = range_of(ids)
        raise ValueError(f"pitches {low}..{high} leave 0..127 by {semitones} semitones: move by {-low}..{127 - high}")
    return moved


def range_of(ids: np.ndarray) -> tuple[int, int]:
    """The lowest and the highest pitch of a document, drums left out; (127, 0) without any, which moves everywhere."""
    pitches = PLACE[ids][FIELD[ids] == PITCH]
    return int(pitches.min(initial=127)), int(pitches.max(initial=0))


def _array(ids: Iterable[int] | np.ndarray) -> np.ndarray:
    return ids if isinstance(ids, np.ndarray) else np.array(list(ids), dtype=np.int64)
