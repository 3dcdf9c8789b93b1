"""What models write by themselves, and what is found wrong with it."""

import numpy as np
import pytest
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_training.judging.ngrams import NgramModel
from rwkv_music_training.judging.predictors import ModelPredictor, NgramPredictor
from rwkv_music_training.judging.validity import UNFINISHED, judge_pieces, wrong_midi
from rwkv_music_training.judging.writing import Written, opening_of, write

RIGHT = "R:jig\nM:6/8\nL:1/8\nK:D\nA|:dfd dfd|ABc d2:|\n"
LONG = "M:6/8\nL:1/8\nK:D\ndfd dfd|dfd dfda|ABc def|ABc d3|]\n"


@pytest.fixture(scope="module")
def novice() -> ModelPredictor:
    """A model that has learnt nothing, and that hardly ever ends a piece."""
    spec = new_spec(2, 64, 128)
    return ModelPredictor(
        build_model(spec, initial_weights(spec, torch.Generator().manual_seed(0)), choose_kernels("cpu"))
    )


def tune(text: str, ended: bool = True) -> Written:
    return Written(np.array([2, *text.encode(), *[3] * ended]), ended)


def notes(text: str) -> Written:
    ids = NoteTokenizer().from_text(f"<bos> <grid> kind:piano meter:4/4 key:C tempo:120 part:0 program:0 {text}")
    return Written(np.asarray(ids), True)


def test_the_same_seed_writes_the_same_pieces(novice):
    opening = opening_of("abc")
    first, again, other = (
        [piece.ids.tolist() for piece in write(novice, 3, opening, masked=False, seed=seed, longest=30)]
        for seed in (3, 3, 4)
    )
    assert first == again != other and len({tuple(ids) for ids in first}) == 3
    assert all(ids[0] == 2 and len(ids) <= 31 for ids in first)


def test_with_masks_whatever_is_written_is_right(novice):
    pieces = write(novice, 4, opening_of("abc"), masked=True, seed=1, longest=60)
    assert all(piece.ended for piece in pieces)
    told = judge_pieces(pieces, "abc")
    assert told.bars is not None and told.bars.wrong == 0
    free = judge_pieces(write(novice, 4, opening_of("abc"), masked=False, seed=1, longest=60), "abc")
    assert free.valid == 0 and dict(free.faults())[UNFINISHED] >= 1


def test_ngrams_write_what_they_have_read():
    ids = np.array([2, *RIGHT.encode(), 3])
    grams = NgramPredictor(NgramModel([ids] * 3, 128, 8))
    pieces = write(grams, 2, opening_of("abc"), masked=False, temperature=0.1, seed=1, longest=100)
    assert [piece.ids.tolist() for piece in pieces] == [ids.tolist()] * 2


def test_tunes_are_judged_by_their_bars_and_their_end():
    told = judge_pieces([tune(RIGHT), tune(LONG), tune(RIGHT, ended=False), tune("\n")], "abc")
    assert told.valid == 1 / 4 and told.ended == 3 / 4 and told.tunes_right == 2 / 4
    assert told.pieces[1].faults == ("a bar that does not add up",)
    assert told.pieces[2].faults == (UNFINISHED,)
    assert told.pieces[3].faults[0].startswith("our reader: no music here")
    plain = told.plain()
    assert plain["bars_right"] == pytest.approx(1 - 1 / 10) and plain["abc2midi_without_error"] >= 0.5


def test_documents_of_notes_are_judged_by_their_order_and_their_sound():
    good = notes("bar time:0 part:0 pitch:60 length:4 <eos>")
    odd = notes("bar time:0 pitch:60 length:4 <eos>")
    silent = notes("bar <eos>")
    told = judge_pieces([good, odd, silent], "notes")
    assert told.valid == pytest.approx(1 / 3) and told.bars is None
    assert told.pieces[1].faults == ("not what the tokenizer would write",)
    assert "no notes" in told.pieces[2].faults
    assert "bars_right" not in told.plain()


def test_a_note_over_a_note_is_wrong():
    over = Performance((Track(rows([(0, 480, 60, 64), (240, 720, 60, 64)], 4)),), 480)
    assert "a note over a note" in list(wrong_midi(over))
    assert list(wrong_midi(Performance((Track(rows([(0, 480, 60, 64)], 4)),), 480))) == []
