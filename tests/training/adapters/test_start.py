"""State tuning of every version: it learns what comes before the first token, and the style it ends as plays the same."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rwkv_music.checkpoint.load import save_weights
from rwkv_music.checkpoint.states import load_state
from rwkv_music.engine import Engine
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.adapters.start import FIRST_KEY, OFFICIAL_FILE, StateTuning

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5]])
ENDS = torch.tensor([0, 5, 9])

every_version = pytest.mark.parametrize("version", VERSIONS)


class Tuned:
    """A model and the parameters that the method makes for it."""

    def __init__(self, version: str):
        self.method = StateTuning()
        self.spec = standard_spec(version, 2, 64, 32)
        self.weights = dict(RandomWeights(self.spec))
        self.found = self.method.parameters(self.weights, self.spec, torch.Generator())
        self.learning = {name: each for name, each in self.found.items() if each.requires_grad}
        self.model = build_model(self.spec, self.method.seen(self.found, self.spec), choose_kernels("cpu", "torch"))

    def logits(self) -> Tensor:
        start = self.method.start(self.found, self.spec, 2, torch.device("cpu"))
        return self.model.forward(IDS, start, cu_seqlens=ENDS)[0]

    def learn(self, steps: int = 15, rate: float = 0.5) -> list[float]:
        optimiser, losses = torch.optim.AdamW(list(self.learning.values()), lr=rate, weight_decay=0), []
        for _ in range(steps):
            loss = torch.nn.functional.cross_entropy(self.logits()[0, :-1], IDS[0, 1:])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses


@every_version
def test_it_begins_as_the_model_or_close_to_it(version):
    tuned = Tuned(version)
    plain, _ = tuned.model.forward(IDS, State.zeros(tuned.spec, 2), cu_seqlens=ENDS)
    if version == "4":
        assert (tuned.logits() - plain).norm() < 0.15 * plain.norm()
        assert tuned.found["blocks.0.att.start_key"].eq(FIRST_KEY).all()
    else:
        assert torch.equal(tuned.logits(), plain)
        assert "blocks.1.att.time_state" in tuned.learning


@every_version
def test_the_memory_alone_learns(version):
    tuned = Tuned(version)
    losses = tuned.learn()
    assert losses[-1] < 0.9 * losses[0]
    assert all(each.grad is not None and each.grad.abs().max() > 0 for each in tuned.learning.values())
    assert all(torch.equal(tuned.found[name], tensor) for name, tensor in tuned.weights.items())


def test_rwkv_4_begins_soundly_with_any_numbers():
    tuned = Tuned("4")
    for key in (-90.0, 90.0):
        with torch.no_grad():
            for layer in range(2):
                tuned.found[f"blocks.{layer}.att.start_key"].fill_(key)
                tuned.found[f"blocks.{layer}.att.start_value"].fill_(1e3)
        logits = tuned.logits()
        assert logits.isfinite().all()
        gradients = torch.autograd.grad(logits.sum(), list(tuned.learning.values()))
        assert all(gradient.isfinite().all() for gradient in gradients)


@every_version
def test_the_style_plays_what_was_trained(version, tmp_path: Path):
    tuned = Tuned(version)
    tuned.learn(steps=3)
    (tmp_path / "base").mkdir()
    save_weights(tuned.weights, tmp_path / "base" / "model.safetensors")
    (tmp_path / "base" / "config.json").write_text(json.dumps({"name": "folk", "tokenizer": "abc"}))
    folder = tmp_path / "waltzes"
    folder.mkdir()
    told = {"name": "waltzes", "tokenizer": "abc", "training": {"base": str(tmp_path / "base")}, "data": {"tunes": 12}}
    tuned.method.export(folder, tuned.found, tuned.spec, told)
    (folder / "config.json").write_text(json.dumps(told))
    expected = tuned.logits()[0, :5].detach()
    # The folder by itself is a model in this style, too.
    for name in (f"{tmp_path / 'base'}+{folder}", str(folder)):
        logits, _ = Engine.open(name).advance(IDS[0, :5], all_logits=True)
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    if version != "4":
        state = load_state(folder / OFFICIAL_FILE, tuned.spec)
        assert torch.equal(state.wkv, tuned.method.memory(tuned.found, tuned.spec))
        # Official files have [value, key], as the model itself.
        content = torch.load(folder / OFFICIAL_FILE, weights_only=True)
        assert torch.equal(content["blocks.0.att.time_state"], tuned.found["blocks.0.att.time_state"])
