"""The exported folder is a model that the package opens: bf16, small, with its numbers."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.engine import Engine, open_model
from rwkv_music.model.versions import Model, tensor_shapes
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training import export
from rwkv_music_training.checkpoints import Progress
from rwkv_music_training.export import SIZE_LIMIT, ExportError, export_model, machine
from rwkv_music_training.judging.predictors import ModelPredictor
from rwkv_music_training.judging.tune_bits import evaluate
from rwkv_music_training.learner import Learner


@pytest.fixture
def model(tiny) -> Model:
    return Learner(tiny, choose_kernels("cpu")).model


def test_the_weights_are_bf16_under_their_official_names(tmp_path, tiny, tunes, model):
    export_model(tmp_path / "best", model, tiny, Progress(step=5), evaluate(ModelPredictor(model), tunes[:4]))
    weights = load_file(tmp_path / "best" / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == tensor_shapes(model.spec)
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}


def test_an_exported_model_opens_and_reads_as_before(tmp_path, tiny, tunes, model):
    bits = evaluate(ModelPredictor(model), tunes[:4])
    export_model(tmp_path / "best", model, tiny, Progress(step=5, tokens=600, seconds=90), bits)
    engine = Engine.open(tmp_path / "best")
    assert engine.spec == model.spec
    assert engine.config is not None and engine.config.name == "tiny" and engine.config.tokenizer == "abc"
    assert evaluate(ModelPredictor(open_model(tmp_path / "best")), tunes[:4])["all"].per_character == pytest.approx(
        bits["all"].per_character, abs=0.02
    )
    told = json.loads((tmp_path / "best" / "config.json").read_text())
    assert told["trained"] == {"steps": 5, "tokens": 600, "minutes": 1.5, "machine": machine(2)}
    assert machine(2).startswith("2 threads of a ")
    assert told["parameters"] == sum(tensor.numel() for tensor in model.weights.values())
    assert set(told["valid_bits_per_character"]) == {"all", "made up", "other"}


def test_a_model_that_is_too_large_is_refused_before_anything_is_written(tmp_path, tiny, model, monkeypatch):
    monkeypatch.setattr(export, "SIZE_LIMIT", 1000)
    with pytest.raises(ExportError, match="the limit is 1,000"):
        export_model(tmp_path / "best", model, tiny, Progress(), {})
    assert not (tmp_path / "best").exists()


def test_the_limit_is_16_mebibytes():
    assert SIZE_LIMIT == 16 * 2**20
