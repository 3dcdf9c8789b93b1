"""Bits a character, counted on cases whose answer is known."""

import pytest
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.corpus.tunes import Tune
from rwkv_music_training.judging.predictors import ModelPredictor
from rwkv_music_training.judging.tune_bits import evaluate


def model(head: float) -> ModelPredictor:
    """A new model whose logits are scaled by `head`: 0 makes every id as likely as every other."""
    weights = initial_weights(new_spec(2, 64, 128), torch.Generator().manual_seed(0))
    weights["head.weight"] = head * weights["head.weight"]
    return ModelPredictor(build_model(new_spec(2, 64, 128), weights, choose_kernels("cpu")))


def test_a_uniform_model_pays_seven_bits_for_every_character(tunes):
    for bits in evaluate(model(0.0), tunes[:9]).values():
        assert bits.per_character == pytest.approx(7, abs=1e-5)
        assert bits.per_text_character == pytest.approx(7, abs=1e-5)
        assert bits.per_body_character == pytest.approx(7, abs=1e-5)


def test_characters_and_tunes_are_counted_by_source(tunes):
    bits = evaluate(model(0.0), tunes)
    assert list(bits) == ["all", "made up", "other"]
    assert bits["all"].tunes == len(tunes) == bits["made up"].tunes + bits["other"].tunes
    assert bits["all"].characters == sum(len(tune.text) for tune in tunes)
    assert bits["all"].body_characters == sum(len(tune.text.split("K:")[1]) - 2 for tune in tunes)


@pytest.mark.parametrize(
    "text, start",
    [("R:jig\nK:D\nABc|\n", 10), ("K:D\nABc|\n", 4), ("ABc|\n", 0), ("M:6/8\nK:Dmix\n[K:G]ABc\n", 13), ("K:D", 0)],
)
def test_the_body_begins_after_the_first_key(text, start):
    assert Tune("x", "x", "A", text).body_start == start
