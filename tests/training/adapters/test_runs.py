"""Runs of the loop in each method: the base stays, and the result opens by its folder."""

import json

import pytest
import torch

from rwkv_music.checkpoint.load import load_weights, save_weights
from rwkv_music.engine import Engine
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.styles import read_style_label
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup

RATES = {"lora": 1e-2, "state": 0.3}


@pytest.fixture
def base(tmp_path):
    """A model folder, "base", and its weights."""
    folder = tmp_path / "base"
    folder.mkdir()
    save_weights(dict(RandomWeights(standard_spec("7", 2, 64, 64))), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"name": "base", "tokenizer": "abc"}))
    return folder


@pytest.fixture
def lesson():
    """Documents that rise by one, and go round."""
    documents = [torch.arange(start, start + 20).remainder(64).numpy() for start in range(24)]
    return Lesson("abc", 64, Listed(documents), Listed(documents[::6]))


def config_of(method: str, base, **changes) -> TrainingConfig:
    plain = TrainingConfig().but(
        name="tuned",
        base=str(base),
        method={"name": method, "rank": 4, "dropout": 0.2},
        data={"tokens_per_step": 160, "pieces": 2, "window": 64, "valid_tokens": 80},
        optimiser={"learning_rate": RATES[method], "weight_decay": 0.0},
        schedule={"steps": 8, "warmup": 1},
        machine={"precision": "float32", "device": "cpu", "threads": 2, "recompute": True},
        habits={"read_every": 8},
    )
    return plain.but(**changes)


@pytest.mark.parametrize("method", RATES)
def test_a_run_tunes_what_the_method_says_and_its_result_opens(method, base, lesson, tmp_path):
    parallel = setup(Layout(accelerator="cpu"))
    try:
        run = Run(config_of(method, base), lesson, tmp_path / "run", parallel)
        run.run()
    finally:
        parallel.close()
    tuned = tmp_path / "run" / "best"
    plain, engine = Engine.open(base), Engine.open(tuned)

    def nats(of: Engine) -> float:
        ids = torch.arange(5, 25)
        logits, _ = of.advance(ids[:-1], all_logits=True)
        return torch.nn.functional.cross_entropy(logits, ids[1:]).item()

    assert nats(engine) < 0.95 * nats(plain)
    if method == "state":
        assert read_style_label(tuned / "style.safetensors").base == "base"
        assert not (tuned / "model.safetensors").exists()
        assert engine.runner is not plain.runner and engine.config and engine.config.name == "base"
    else:
        weights = load_weights(tuned / "model.safetensors")
        assert torch.equal(weights["emb.weight"], load_weights(base / "model.safetensors")["emb.weight"].bfloat16())
