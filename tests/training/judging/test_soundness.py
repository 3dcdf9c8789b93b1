"""Sound tunes are told from faulty ones, and the model's own drawing keeps its promises."""

import pytest
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.versions import Model, build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_tokenizers.bars import BarCount
from rwkv_music_training.judging.abc2midi import abc2midi_errors, find_abc2midi, kind_of
from rwkv_music_training.judging.soundness import judge
from rwkv_music_training.samples import draw, sample_many, sample_tunes, tunebook

RIGHT = "R:jig\nM:6/8\nL:1/8\nK:D\nA|:dfd dfd|ABc d2:|\n"
LONG = "M:6/8\nL:1/8\nK:D\ndfd dfd|dfd dfda|ABc def|ABc d3|]\n"
BROKEN = "M:6/8\nL:1/8\nK:D\ndfd [dfd|ABc $ d3|]\n"


@pytest.fixture(scope="module")
def program():
    return find_abc2midi()


@pytest.fixture(scope="module")
def model() -> Model:
    """A model that has learnt nothing, and that hardly ever ends a tune."""
    spec = new_spec(2, 64, 128)
    return build_model(spec, initial_weights(spec, torch.Generator().manual_seed(0)), choose_kernels("cpu"))


def test_abc2midi_reads_a_good_tune_without_an_error(program):
    assert abc2midi_errors("X:1\n" + RIGHT, program) == []


def test_abc2midi_says_what_is_wrong(program):
    errors = abc2midi_errors("X:1\n" + BROKEN, program)
    assert errors and all(error.startswith("Error") for error in errors)


def test_the_kind_of_an_error_has_no_place():
    assert kind_of("Error in line-char 5-0 : Missing :| at end of tune") == "Missing :| at end of tune"
    assert kind_of("Error : Track 0 Bar 17") == "Track N Bar N"


def test_bars_and_tunes_are_counted(program):
    sound = judge([RIGHT, LONG, BROKEN], program)
    right, long, _ = sound.verdicts
    assert right.bars == BarCount(full=1, short_at_boundary=2, wrong=0) and right.every_bar_right
    assert long.faults == ("bar 2 holds 7/8 in a 6/8 meter",) and not long.every_bar_right
    assert judge([RIGHT, LONG], program).bars_right == pytest.approx(6 / 7)
    assert judge([RIGHT, LONG], program).tunes_right == 0.5
    assert sound.read_without_error == pytest.approx(2 / 3)
    assert sound.bars.total == sum(verdict.bars.total for verdict in sound.verdicts)


@pytest.mark.parametrize("text", ["", "\n\n", "K:D\n", "w: la\n", "\x00" * 50])
def test_a_tune_without_bars_is_not_right(program, text):
    sound = judge([text], program)
    assert sound.tunes_right == 0 and sound.bars.wrong == 0


def test_drawing_keeps_to_the_smallest_set_that_reaches_top_p():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(2000, -1)
    generator = torch.Generator().manual_seed(0)
    drawn = draw(logits, 1.0, 0.7, generator)
    assert set(drawn.tolist()) == {0, 1}
    assert (drawn == 0).float().mean().item() == pytest.approx(5 / 8, abs=0.04)
    cold = draw(logits, 0.1, 1.0, generator)
    assert (cold == 0).float().mean().item() > 0.98


def test_the_same_seed_writes_the_same_tunes(model):
    first = sample_many(model, 5, rows=2, seed=3, max_length=40)
    assert first == sample_many(model, 5, rows=2, seed=3, max_length=40)
    assert len(first) == 5 and len(set(first)) == 5
    assert first != sample_many(model, 5, rows=2, seed=4, max_length=40)
    assert first[4:] == sample_tunes(model, 1, seed=3002, max_length=40)


def test_a_tune_goes_on_from_its_opening(model):
    tunes = sample_tunes(model, 3, "K:D\n", max_length=30)
    assert all(tune.startswith("K:D\n") and len(tune) <= 30 for tune in tunes)


def test_a_tunebook_numbers_its_tunes():
    book = tunebook(["K:D\nABc|\n", "K:G\nG3|\n"], ["One", "Two"])
    assert book == "X:1\nT:One\nK:D\nABc|\n\nX:2\nT:Two\nK:G\nG3|\n"
