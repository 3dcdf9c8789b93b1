"""Long documents of notes are cut at bars: every part is a document with a header, and together they are the whole."""

import numpy as np
import pytest

from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.note_vocabulary import BAR, BOS, EOS
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.excerpts import header_length
from rwkv_music_training.learning.config import Data
from rwkv_music_training.learning.cutting import Anywhere, AtBars
from rwkv_music_training.learning.packing import Packed


@pytest.fixture(scope="module")
def documents(pieces) -> list[np.ndarray]:
    """The made-up pieces as documents of notes, some of several hundred ids."""
    return [np.asarray(NoteTokenizer().encode(piece), dtype=np.int64) for piece in pieces]


@pytest.mark.parametrize("room", [40, 100, 10_000])
def test_parts_begin_with_a_header_and_a_bar_and_only_the_last_one_ends(documents, room):
    for ids in documents:
        bounds = [0, *range(room - 1, len(ids) - 1, room - 1), len(ids) - 1]
        parts = [AtBars().cut(ids, begin, end + 1) for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]
        parts = [part for part in parts if len(part)]
        assert all(part[0] == BOS and part[header_length(part)] == BAR for part in parts)
        assert [part[-1] == EOS for part in parts] == [False] * (len(parts) - 1) + [True]
        assert sum(int((part == BAR).sum()) for part in parts) == int((ids == BAR).sum())


def test_a_run_on_notes_hears_every_bar_once_an_epoch(documents):
    packed = Packed(Listed(documents), Data(tokens_per_step=500, pieces=2, window=64), 1, AtBars())
    heard = [batch for step in range(packed.per_epoch) for batch in packed.at(step)]
    bars = sum(int((batch.targets[batch.counted] == BAR).sum()) for batch in heard)
    assert bars == sum(int((ids == BAR).sum()) for ids in documents)


def test_characters_are_cut_anywhere():
    assert Anywhere().cut(np.arange(9), 2, 5).tolist() == [2, 3, 4]
