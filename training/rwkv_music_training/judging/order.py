"""Whether a document of notes says its music as the tokenizer would have said it."""

import numpy as np

from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.note_vocabulary import EOS, GRID, KIND, KINDS

CLOCK_PLACE, KIND_PLACE = 1, 2
# A bar, its meter and key, a time, its tempo, a part, its velocity and a pitch that still waits for its length.
LONGEST_EVENT = 8
TOKENIZER = NoteTokenizer()


def in_order(ids: np.ndarray) -> bool:
    """Whether a document is the one that its own music is encoded as; of one without an end its last event may be cut."""
    place = int(ids[KIND_PLACE]) - KIND if len(ids) > KIND_PLACE else -1
    if not 0 <= place < len(KINDS):
        return False
    clock = "grid" if ids[CLOCK_PLACE] == GRID else "perf"
    options = NoteOptions(clock=clock, kind=KINDS[place], silent=True)
    again = TOKENIZER.encode(TOKENIZER.decode(ids), options)
    if ids[-1] == EOS:
        return np.array_equal(again, ids)
    told = again[:-1]
    return len(ids) - len(told) <= LONGEST_EVENT and np.array_equal(ids[: len(told)], told)
