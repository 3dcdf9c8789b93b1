"""What is chosen for a fine-tuning follows from how much music there is, and gives way to what was said."""

from pathlib import Path

import numpy as np
import pytest

from rwkv_music.library import ModelFiles
from rwkv_music.model.initial import standard_spec
from rwkv_music_training.finetune import choices
from rwkv_music_training.finetune.base import Base, choose_base
from rwkv_music_training.finetune.choices import (
    Music,
    choose_config,
    choose_method,
    step_tokens,
    usual_rate,
    usual_steps,
)
from rwkv_music_training.finetune.material import hold_out, usual_count
from rwkv_music_training.finetune.wishes import Wishes

TUNE = "X:1\nT:A\nM:3/4\nL:1/8\nK:G\nG2A2B2|c2d2e2|d2c2B2|G6|]\n"
SPEC = standard_spec("7", 2, 64, 128, 64, None)
BASE = Base("small", ModelFiles(Path("model.safetensors"), None), SPEC, "abc")


@pytest.mark.parametrize(("pieces", "method"), [(10, "state"), (300, "lora"), (100_000, "full")])
def test_more_pieces_let_more_of_a_model_learn(pieces: int, method: str):
    assert choose_method(Wishes(), Music(pieces, 250 * pieces, 400), 3_000_000) == method
    assert choose_method(Wishes(method="lora"), Music(pieces, 250 * pieces, 400), 3_000_000) == "lora"


def test_what_has_no_room_in_memory_learns_low_rank_additions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choices, "has_room", lambda needed: needed < 10**9)
    music = Music(100_000, 10**8, 4000)
    assert choose_method(Wishes(), music, 50_000_000) == "full"
    assert choose_method(Wishes(), music, 400_000_000) == "lora"


def test_ten_pieces_are_read_often_and_a_hundred_thousand_a_few_times():
    few, many = Music(10, 2_500, 400), Music(100_000, 60_000_000, 4000)
    assert 20 <= usual_steps(few) * step_tokens(few) / few.tokens <= 80
    assert 2.9 <= usual_steps(many) * step_tokens(many) / many.tokens <= 3.1
    assert step_tokens(few) == choices.LEAST_STEP and step_tokens(many) == choices.MOST_STEP


def test_what_was_said_is_taken():
    wishes = Wishes(method="lora", rank=4, rate=1e-3, steps=7, seed=5, threads=3)
    config = choose_config("mine", BASE, Music(10, 2_500, 400), wishes)
    assert (config.method.name, config.method.rank, config.optimiser.learning_rate) == ("lora", 4, 1e-3)
    assert (config.schedule.steps, config.seed, config.machine.threads, config.base) == (7, 5, 3, "small")


def test_a_state_is_not_learnt_from_the_middle_of_a_piece():
    config = choose_config("mine", BASE, Music(10, 40_000, 5_000), Wishes(method="state"))
    assert config.data.window == 5_000 <= config.data.tokens_per_step


def test_weights_learn_little_music_at_lower_rates():
    rates = [usual_rate("full", Music(10, tokens, 400), 3_000_000) for tokens in (2_500, 250_000, 25_000_000)]
    assert rates == sorted(rates) and rates[0] == pytest.approx(rates[2] / 10)


def test_larger_models_learn_at_lower_rates():
    large = Base("large", BASE.files, standard_spec("7", 12, 768, 128, 64, None), "abc")
    rates = [choose_config("x", base, Music(10, 2500, 400), Wishes()).optimiser.learning_rate for base in (BASE, large)]
    assert rates[0] > rates[1] > rates[0] / 10


@pytest.mark.parametrize(("documents", "held"), [(1, 1), (4, 1), (5, 2), (12, 2), (200, 20), (100_000, 400)])
def test_a_tenth_is_held_out_within_bounds(documents: int, held: int):
    assert usual_count(documents) == held


def test_near_duplicates_are_held_out_together():
    clusters = np.repeat(np.arange(30), 2)
    train, held = hold_out(clusters, 10, seed=3)
    assert len(held) == 10 and len(train) == 50
    assert not set(clusters[train]) & set(clusters[held])
    assert (hold_out(clusters, 10, seed=3)[1] == held).all() and (hold_out(clusters, 10, seed=4)[1] != held).any()


def test_of_a_hundred_thousand_pieces_some_are_held_out_as_well():
    train, held = hold_out(np.arange(100_000), usual_count(100_000), seed=1)
    assert (len(train), len(held)) == (99_600, 400)


def test_something_is_always_learnt_from_and_something_held_out():
    for clusters in ([0], [0, 0, 0], [0, 1], [0, 0, 0, 0, 1]):
        train, held = hold_out(np.array(clusters), 2, seed=1)
        assert len(train) and len(held)
        assert (set(train) == set(held) == {0}) if len(clusters) == 1 else not set(train) & set(held)


def test_the_base_is_the_embedded_model_of_most_files(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.abc").write_text(TUNE)
    (tmp_path / "notes.txt").write_text("no music")
    assert choose_base(None, [tmp_path]).name == "abc-folk"
    for number in range(3):
        (tmp_path / f"{number}.mid").write_bytes(b"")
    assert choose_base(None, [tmp_path]).name == "midi-score"
    assert choose_base("abc-folk", [tmp_path]).code == "abc"
