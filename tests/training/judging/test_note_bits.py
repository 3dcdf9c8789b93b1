"""Bits a token, a note and a second of windows, counted on cases whose answer is known."""

import math

import numpy as np
import pytest
import torch

from rwkv_music.errors import UserError
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.judging.note_bits import evaluate_windows, every_window, some_windows
from rwkv_music_training.judging.predictors import ModelPredictor
from rwkv_music_training.judging.readings import headline, told
from rwkv_music_training.judging.recipe import NoteRecipe, note_recipe, training_of
from rwkv_music_training.judging.tiles import BEGIN, DOCUMENT, Windows
from rwkv_music_training.note_corpus import note_corpus


@pytest.fixture(scope="module")
def windows(midi_folder, tmp_path_factory) -> Windows:
    return Windows(note_corpus(midi_folder, "valid", tmp_path_factory.mktemp("cache"), NoteRecipe(clock="grid")), 128)


def model(head: float) -> Model:
    """A new model whose logits are scaled by `head`: 0 makes every id as likely as every other."""
    spec = new_spec(2, 64, 896)
    weights = initial_weights(spec, torch.Generator().manual_seed(0))
    weights["head.weight"] = head * weights["head.weight"]
    return build_model(spec, weights, choose_kernels("cpu"))


def test_a_uniform_model_pays_the_same_for_every_token(windows):
    corpus = windows.corpus
    readings = evaluate_windows(ModelPredictor(model(0.0)), windows, every_window(windows))
    assert list(readings) == ["all", "songs", "tunes"]
    for bits in readings.values():
        assert bits.per_token == pytest.approx(math.log2(896), abs=1e-4)
    every = readings["all"]
    assert every.notes == corpus.notes.sum()
    assert every.seconds == pytest.approx(corpus.seconds.sum())
    assert every.per_note == pytest.approx(every.bits / corpus.notes.sum())
    assert every.per_second == pytest.approx(every.bits / corpus.seconds.sum())
    # All ids but each begin token; what an excerpt says again costs too.
    assert len(corpus.ids) - len(corpus) <= every.tokens < 1.1 * len(corpus.ids)


def test_a_repeated_header_is_not_counted(windows):
    judge = model(3.0)
    chosen = next(window for window in every_window(windows) if window[BEGIN])
    ids = torch.from_numpy(windows.ids(chosen).astype("int64"))
    logits, _ = judge.forward(ids[None, :-1], State.zeros(judge.spec))
    costs = -torch.log_softmax(logits[0], dim=-1).gather(1, ids[1:, None])[:, 0] / math.log(2)
    bits = evaluate_windows(ModelPredictor(judge), windows, chosen[None])["all"]
    assert bits.tokens == len(ids) - windows.header(chosen)
    assert bits.bits == pytest.approx(float(costs[windows.header(chosen) - 1 :].sum()), abs=1e-2)


def test_some_windows_are_of_every_source_and_always_the_same(windows):
    chosen = some_windows(windows, 500)
    assert np.array_equal(chosen, some_windows(windows, 500))
    sources = windows.corpus.source[chosen[:, DOCUMENT]]
    tokens = np.bincount(sources, windows.lengths(chosen))
    assert len(tokens) == 2 and (abs(tokens - 250) < 128).all()


def test_the_config_says_all_sources(windows):
    readings = evaluate_windows(ModelPredictor(model(0.0)), windows, some_windows(windows, 500))
    assert set(told(readings)) == {"valid_bits_per_token", "valid_bits_per_note", "valid_bits_per_second"}
    assert told(readings)["valid_bits_per_token"]["songs"] == pytest.approx(headline(readings["songs"]), abs=1e-4)


def test_a_recipe_is_read_from_the_config_of_either_trainer():
    flat = {"training": {"max_length": 512, "clock": "grid", "tiers": ["A", "B"], "temperature": 1.0, "minutes": 3}}
    assert note_recipe(flat) == NoteRecipe(max_length=512, clock="grid", tiers=("A", "B"))
    grouped = {
        "dimensions": {"layers": 4, "width": 192},
        "sampling": {"temperature": 0.9, "top_p": 0.98},
        "training": {"name": "x", "data": {"window": 256, "source_power": 0.5}, "habits": {"temperature": 0.9}},
    }
    assert note_recipe(grouped) == NoteRecipe(max_length=256, source_power=0.5, temperature=0.9, top_p=0.98)
    assert training_of(grouped)["layers"] == 4
    with pytest.raises(UserError, match="max_length must be like 1024"):
        note_recipe({"training": {"max_length": "long"}})
    with pytest.raises(UserError, match="lacks 'training'"):
        note_recipe({})
