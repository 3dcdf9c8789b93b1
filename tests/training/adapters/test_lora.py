"""LoRA of every version: it begins as the model, learns beside it, and what is saved merges into the same model."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.lora import merge_lora
from rwkv_music.engine import Engine
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.adapters.lora import PEFT_FILES, RWKV_PEFT_FILE, Lora, LoraError

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5]])
EVERY = {
    "4": {"att.key", "att.value", "att.receptance", "att.output", "ffn.key", "ffn.value", "ffn.receptance"},
    "6": {"att.gate", "att.key", "att.value", "att.receptance", "att.output", "ffn.key", "ffn.value", "ffn.receptance"},
    "7": {"att.key", "att.value", "att.receptance", "att.output", "ffn.key", "ffn.value"},
}

every_version = pytest.mark.parametrize("version", VERSIONS)


def begun(version: str, method: Lora, shaken: bool) -> tuple[Spec, dict[str, Tensor]]:
    """Parameters as the method makes them; `shaken`: as if it had learnt something."""
    spec = standard_spec(version, 2, 64, 32)
    found = method.parameters(RandomWeights(spec), spec, torch.Generator().manual_seed(1))
    if shaken:
        for number, name in enumerate(sorted(found)):
            if name.endswith("lora_B"):
                noise = torch.randn(found[name].shape, generator=torch.Generator().manual_seed(number))
                found[name].data.copy_(0.1 * noise)
    return spec, dict(found)


def logits_of(spec: Spec, weights) -> Tensor:
    return build_model(spec, weights, choose_kernels("cpu", "torch")).forward(IDS, State.zeros(spec))[0]


@every_version
def test_it_begins_as_the_model(version):
    method = Lora(rank=4)
    spec, found = begun(version, method, shaken=False)
    expected = logits_of(spec, dict(RandomWeights(spec)))
    assert torch.equal(logits_of(spec, method.seen(found, spec, (1, 2))), expected)
    assert torch.equal(logits_of(spec, method.seen(found, spec)), expected)


@every_version
def test_beside_the_matrices_is_merged_into_them_and_nothing_else_learns(version):
    method = Lora(rank=4, alpha=8)
    spec, found = begun(version, method, shaken=True)
    learning = {name: each for name, each in found.items() if each.requires_grad}
    assert set(learning) == {name for name in found if "lora" in name}
    results = []
    for draw in (None, (1, 2)):
        logits = logits_of(spec, method.seen(found, spec, draw))
        results.append([logits, *torch.autograd.grad(logits.square().sum(), list(learning.values()))])
    for merged, beside in zip(*results, strict=True):
        assert (merged - beside).norm() <= 2e-5 * merged.norm()
        assert beside.detach().abs().max() > 0
    assert not torch.allclose(results[0][0], logits_of(spec, dict(RandomWeights(spec))), atol=1e-3)


@pytest.mark.parametrize("version", EVERY)
def test_all_matrices_of_the_blocks_are_meant_unless_some_are_named(version):
    spec = standard_spec(version, 2, 64, 32)
    assert {name.split(".", 2)[2] for name in Lora().modules(spec)} == EVERY[version]
    assert Lora(matrices=["att.key"]).modules(spec) == ["blocks.0.att.key", "blocks.1.att.key"]
    with pytest.raises(LoraError, match=r"no 'att.keys', only att"):
        Lora(matrices=["att.keys"]).modules(spec)


@every_version
def test_both_forms_merge_at_load_into_what_was_trained(version, tmp_path):
    method = Lora(rank=4, alpha=8, matrices=["att.key", "ffn.value"])
    spec, found = begun(version, method, shaken=True)
    method.save(tmp_path, found, spec, "base")
    expected, base = method.seen(found, spec), dict(RandomWeights(spec))
    for merged in (merge_lora(base, tmp_path), merge_lora(base, tmp_path / RWKV_PEFT_FILE, alpha=8)):
        for name, right in expected.items():
            torch.testing.assert_close(merged[name], right.detach(), rtol=1e-6, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {*PEFT_FILES, RWKV_PEFT_FILE}


def test_dropout_depends_on_its_numbers_alone_and_keeps_the_mean():
    method = Lora(rank=4, share=0.5)
    spec, found = begun("7", method, shaken=True)
    first, again, other = (logits_of(spec, method.seen(found, spec, draw)) for draw in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(first, again) and not torch.equal(first, other)
    x = torch.ones(1, 2000, 64)
    matrix = method.seen(found, spec, (5,))["blocks.0.att.key.weight"]
    dropped = torch.nn.functional.linear(x, matrix).mean(dim=(0, 1))
    exact = x[0, 0] @ method.seen(found, spec)["blocks.0.att.key.weight"].T
    assert (dropped - exact).norm() < 0.1 * exact.norm()


def test_what_stands_for_a_matrix_is_for_linear_maps_alone():
    method = Lora()
    spec, found = begun("7", method, shaken=False)
    with pytest.raises(TypeError, match="for linear maps alone"):
        torch.add(torch.ones(64, 64), method.seen(found, spec, (1,))["blocks.0.att.key.weight"])


def test_a_step_changes_the_additions_alone_and_makes_the_loss_smaller():
    method = Lora(rank=8)
    spec, found = begun("7", method, shaken=False)
    learning = [each for each in found.values() if each.requires_grad]
    optimiser, losses = torch.optim.AdamW(learning, lr=1e-2), []
    for step in range(15):
        logits = logits_of(spec, method.seen(found, spec, (0, step)))
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], IDS[0, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(found[name], tensor) for name, tensor in RandomWeights(spec).items())


def test_what_is_exported_opens_as_a_model(tmp_path: Path):
    method = Lora(rank=4)
    spec, found = begun("7", method, shaken=True)
    method.export(tmp_path, found, spec, {"training": {"base": "folk"}})
    expected = logits_of(spec, {name: each.bfloat16().float() for name, each in method.seen(found, spec).items()})
    logits, _ = Engine.open(tmp_path).advance(IDS[0], all_logits=True)
    torch.testing.assert_close(logits, expected[0].detach(), rtol=1e-3, atol=1e-3)
    assert set(load_weights(tmp_path / "model.safetensors")) == set(RandomWeights(spec))
    assert '"base_model_name_or_path": "folk"' in (tmp_path / "adapter" / PEFT_FILES[1]).read_text()
