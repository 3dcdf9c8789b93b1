"""The steps of played music from note to note, which are the same in every key: the symbols that copies are told by."""

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import QUARTER
from rwkv_music_tokenizers.performance import PITCH, START, Performance
from rwkv_music_training.judging.copying import FIRST_SYMBOL, MOST_SYMBOLS, Symbols
from rwkv_music_training.judging.statistics import pitched_notes

# A step's symbol holds the interval and, above it, the time in 1/24 quarters; longer times are told as the longest.
INTERVALS = 256
LONGEST_TIME = (MOST_SYMBOLS - FIRST_SYMBOL) // INTERVALS - 1


def steps(performance: Performance) -> Symbols:
    """A symbol for each step from a note to the next (by start, then pitch): its interval, and the time between.

    Drums are left out. The steps of a piece are those of the piece in any other key. (notes - 1,), uint16.
    """
    notes = pitched_notes(performance)
    intervals = np.diff(notes[:, PITCH]) + INTERVALS // 2
    times = np.diff(notes[:, START] * QUARTER // performance.ticks)
    return (FIRST_SYMBOL + INTERVALS * np.minimum(times, LONGEST_TIME) + intervals).astype(np.uint16)
