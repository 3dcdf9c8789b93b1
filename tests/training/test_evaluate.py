"""Bits a character, counted on cases whose answer is known."""

import math

import pytest
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.state import State
from rwkv_music.model.v7 import Rwkv7
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.corpus.tunes import Tune, document
from rwkv_music_training.evaluate import evaluate, token_bits


def model(head: float) -> Rwkv7:
    """A new model whose logits are scaled by `head`: 0 makes every id as likely as every other."""
    weights = initial_weights(new_spec(2, 64, 128), torch.Generator().manual_seed(0))
    weights["head.weight"] = head * weights["head.weight"]
    return Rwkv7(new_spec(2, 64, 128), weights, choose_kernels("cpu"))


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


def test_the_cost_of_a_tune_does_not_depend_on_its_neighbours(tunes):
    judge = model(3.0)
    alone = token_bits(judge, tunes[3:4])[0]
    among = token_bits(judge, tunes[:12], tokens_per_batch=400)[3]
    torch.testing.assert_close(alone, among, rtol=0, atol=1e-4)


def test_the_cost_is_minus_log_two_of_the_probability(tunes):
    judge = model(3.0)
    ids = torch.from_numpy(document(tunes[0].text).astype("int64"))
    logits, _ = judge.forward(ids[None, :-1], State.zeros(judge.spec))
    chosen = torch.log_softmax(logits[0], dim=-1).gather(1, ids[1:, None])[:, 0]
    torch.testing.assert_close(token_bits(judge, tunes[:1])[0], -chosen / math.log(2), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "text, start",
    [("R:jig\nK:D\nABc|\n", 10), ("K:D\nABc|\n", 4), ("ABc|\n", 0), ("M:6/8\nK:Dmix\n[K:G]ABc\n", 13), ("K:D", 0)],
)
def test_the_body_begins_after_the_first_key(text, start):
    assert Tune("x", "x", "A", text).body_start == start
