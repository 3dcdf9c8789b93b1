"""Costs that are known beforehand: of models to whom all ids are alike, and of n-grams."""

import math

import numpy as np
import pytest
import torch

from rwkv_music.errors import UserError
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_training.judging import predictors
from rwkv_music_training.judging.costs import reckon
from rwkv_music_training.judging.ngrams import NgramModel
from rwkv_music_training.judging.pieces import KeptPiece, PlayedPiece, TunePiece, seconds_of
from rwkv_music_training.judging.predictors import ModelPredictor, NgramPredictor, by_length


def model(head: float, vocabulary: int = 128) -> ModelPredictor:
    """A new model whose logits are scaled by `head`: 0 makes every id as likely as every other."""
    spec = new_spec(2, 64, vocabulary)
    weights = initial_weights(spec, torch.Generator().manual_seed(0))
    weights["head.weight"] = head * weights["head.weight"]
    return ModelPredictor(build_model(spec, weights, choose_kernels("cpu")))


@pytest.fixture
def some(tunes) -> list[TunePiece]:
    return [TunePiece(tune.id, tune.source, tune.text) for tune in tunes[:9]]


@pytest.fixture
def chord() -> PlayedPiece:
    notes = rows([(0, 480, 60, 64), (0, 480, 64, 64), (480, 960, 67, 64)], 4)
    return PlayedPiece("chord", "played", Performance((Track(notes),), 480))


def test_who_knows_nothing_pays_seven_bits_for_every_character(some):
    found = reckon(model(0.0), some, "abc").by_source
    assert list(found) == ["all", "made up", "other"]
    every = found["all"]
    assert every.per_token == pytest.approx(7, abs=1e-5)
    assert every.whole.tokens == sum(len(piece.text) + 1 for piece in some)
    assert every.pieces == 9 and every.notes == sum(piece.performance.count for piece in some)
    assert every.kinds["pitch"].tokens == every.notes and every.kinds["end"].tokens == 9
    assert every.seconds == pytest.approx(sum(map(seconds_of, some)))
    assert every.per_second == pytest.approx(every.whole.bits / every.seconds)
    assert sum(kind["tokens"] for kind in every.plain()["kinds"].values()) == every.plain()["tokens"]


def test_the_cost_of_a_document_does_not_depend_on_its_neighbours_or_on_cuts(some, monkeypatch):
    judge = model(3.0)
    documents = [piece.document("abc") for piece in some]
    alone = judge.read(documents[3:4])[0]
    monkeypatch.setattr(predictors, "PIECE", 16)
    monkeypatch.setattr(predictors, "TOKENS", 300)
    np.testing.assert_allclose(judge.read(documents)[3].bits, alone.bits, atol=1e-4)
    assert np.array_equal(judge.read(documents)[3].hits, alone.hits)


def test_what_is_foreseen_counts_by_kind():
    text = "M:4/4\nK:C\n" + "CDEF|" * 40 + "\n"
    piece = TunePiece("one", "", text)
    grams = NgramPredictor(NgramModel([piece.document("abc")], 128, 4))
    costs = reckon(grams, [piece], "abc").by_source["all"]
    assert costs.kinds["pitch"].accuracy > 0.95 and costs.kinds["pitch"].bits / costs.kinds["pitch"].tokens < 0.2
    assert costs.notes == 160


def test_ngrams_read_long_documents_in_stretches(monkeypatch):
    chance = np.random.default_rng(0)
    ids = np.concatenate([[0], chance.integers(1, 5, 50)])
    grams = NgramPredictor(NgramModel([ids], 5, 3))
    whole = grams.read([ids])[0]
    monkeypatch.setattr(predictors, "ROWS", 7)
    assert np.array_equal(grams.read([ids])[0].hits, whole.hits)
    expected = NgramModel([ids], 5, 3).distributions(ids).argmax(1) == ids[1:]
    assert np.array_equal(whole.hits, expected)


def test_of_a_document_that_is_cut_the_share_counts_that_was_read(chord):
    whole = reckon(model(0.0, 896), [chord], "notes").by_source["all"]
    assert (whole.notes, whole.seconds) == (3, 1.0) and whole.per_token == pytest.approx(math.log2(896), abs=1e-4)
    # The last note is a time, a pitch and a length before the end.
    longest = len(chord.document("notes")) - 5
    cut = reckon(model(0.0, 896), [chord], "notes", longest).by_source["all"]
    assert cut.notes == 2 and cut.seconds == pytest.approx(2 / 3) and cut.whole.tokens == longest


def test_music_is_read_in_any_code_that_can_say_it(chord, some):
    assert reckon(model(0.0, 2176), [chord], "midipiano").by_source["all"].notes == 3
    assert reckon(model(0.0, 896), some[:2], "notes").by_source["all"].notes > 0
    kept = KeptPiece("kept", "here", "notes", chord.document("notes"))
    assert kept.document("notes") is kept.ids and kept.performance.count == 3
    with pytest.raises(UserError, match="no piece of the corpus can be read by a model of 'abc': .*cannot read MIDI"):
        reckon(model(0.0), [chord], "abc")
    mixed = reckon(model(0.0), [chord, *some], "abc")
    assert mixed.by_source["all"].pieces == 9 and sum(mixed.left_out.values()) == 1


def test_groups_hold_documents_of_like_length():
    assert by_length([5, 1, 4, 9, 2], 10) == [[3], [0, 2], [4, 1]]
