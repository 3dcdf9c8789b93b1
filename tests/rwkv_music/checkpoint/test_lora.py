"""A merged model computes what the model beside its adapter computes: W x and the adapter's own path, added up."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rwkv_music.checkpoint.lora import merge_lora
from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.model.invented import RandomWeights, standard_spec

MODULES = {"blocks.0.att.key": (64, 64), "blocks.1.ffn.key": (256, 64), "blocks.1.ffn.value": (64, 256)}
RANK = 4


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return dict(RandomWeights(standard_spec("7", 2, 64, 32)))


def pairs(seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return {
        module: (torch.randn(RANK, width, generator=draw), torch.randn(out, RANK, generator=draw))
        for module, (out, width) in MODULES.items()
    }


def beside(x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """A linear map with its adapter, as it runs in training."""
    return x @ weight.T + scale * (x @ down.T @ up.T)


def check(merged, weights, expected) -> None:
    for module, (_, width) in MODULES.items():
        x = torch.randn(3, width, generator=torch.Generator().manual_seed(9))
        torch.testing.assert_close(x @ merged[module + ".weight"].T, expected(x, module), rtol=1e-4, atol=1e-3)
    others = [name for name in weights if name.removesuffix(".weight") not in MODULES]
    assert all(torch.equal(merged[name], weights[name]) for name in others)
    assert set(merged) == set(weights) and merged.shapes == {name: tuple(x.shape) for name, x in weights.items()}


def test_lora_of_rwkv_peft_wants_its_alpha(weights, tmp_path):
    content = {}
    for module, (down, up) in pairs().items():
        content |= {f"{module}.lora_A": down, f"{module}.lora_B": up}
    torch.save(content, tmp_path / "lora.pth")
    with pytest.raises(CheckpointError, match="does not hold alpha"):
        merge_lora(weights, tmp_path / "lora.pth")
    merged = merge_lora(weights, tmp_path / "lora.pth", alpha=32)
    check(merged, weights, lambda x, module: beside(x, weights[module + ".weight"], *pairs()[module], 32 / RANK))


@pytest.mark.parametrize("root", [False, True])
def test_a_folder_of_peft_holds_its_own(weights, tmp_path, root):
    content = {}
    for module, (down, up) in pairs().items():
        content |= {f"base_model.model.{module}.lora_A.weight": down, f"base_model.model.{module}.lora_B.weight": up}
    save_file(content, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 8, "use_rslora": root}))
    scale = 8 / RANK**0.5 if root else 8 / RANK
    merged = merge_lora(weights, tmp_path)
    check(merged, weights, lambda x, module: beside(x, weights[module + ".weight"], *pairs()[module], scale))


def test_web_rwkv_lays_the_first_factor_the_other_way(weights, tmp_path):
    content = {}
    for module, (down, up) in pairs().items():
        content |= {f"{module}.weight.lora.0": down.T.contiguous(), f"{module}.weight.lora.1": up}
    save_file(content, tmp_path / "lora.st")
    merged = merge_lora(weights, tmp_path / "lora.st", alpha=RANK)
    check(merged, weights, lambda x, module: beside(x, weights[module + ".weight"], *pairs()[module], 1))


@pytest.mark.parametrize("apart", [False, True])
def test_pissa_takes_out_what_it_began_from(weights, tmp_path, apart):
    own, begun = {}, {}
    for module, (down, up) in pairs().items():
        own |= {f"{module}.lora_A": down, f"{module}.lora_B": up}
    for module, (down, up) in pairs(1).items():
        begun |= {f"{module}.init_lora_A": down, f"{module}.init_lora_B": up}
    torch.save(own if apart else own | begun, tmp_path / "pissa.pth")
    torch.save(begun, tmp_path / "init.pth")
    merged = merge_lora(weights, tmp_path / "pissa.pth", init=tmp_path / "init.pth" if apart else None)

    def expected(x: Tensor, module: str) -> Tensor:
        without = weights[module + ".weight"] - pairs(1)[module][1] @ pairs(1)[module][0]
        return beside(x, without, *pairs()[module], 1)

    check(merged, weights, expected)


@pytest.mark.parametrize("rank", [4, 24])
def test_disha_sums_its_inputs_by_blocks(weights, tmp_path, rank):
    draw = torch.Generator().manual_seed(2)
    parts = {module: torch.randn(rank, out, generator=draw) for module, (out, _) in MODULES.items()}
    torch.save({f"{module}.disha": part for module, part in parts.items()}, tmp_path / "disha.pth")

    def expected(x: Tensor, module: str) -> Tensor:
        # The input in blocks of `rank`, the last filled up with zeros, added up.
        filled = torch.nn.functional.pad(x, (0, -x.shape[1] % rank))
        return x @ weights[module + ".weight"].T + filled.view(len(x), -1, rank).sum(1) @ parts[module]

    check(merge_lora(weights, tmp_path / "disha.pth"), weights, expected)


def test_whole_tensors_beside_the_adapter_take_the_place_of_the_old(weights, tmp_path):
    new = torch.full((64,), 3.0)
    torch.save({"blocks.1.ln1.weight": new}, tmp_path / "more.pth")
    assert torch.equal(merge_lora(weights, tmp_path / "more.pth")["blocks.1.ln1.weight"], new)


def test_the_type_of_the_weights_stays(tmp_path):
    weights = RandomWeights(standard_spec("7", 2, 64, 32), dtype=torch.bfloat16)
    down, up = pairs()["blocks.0.att.key"]
    torch.save({"blocks.0.att.key.lora_A": down, "blocks.0.att.key.lora_B": up}, tmp_path / "lora.pth")
    merged = merge_lora(weights, tmp_path / "lora.pth", alpha=4)["blocks.0.att.key.weight"]
    assert torch.equal(merged, (weights["blocks.0.att.key.weight"].float() + up @ down).bfloat16())


@pytest.mark.parametrize(
    "content, reason",
    [
        ({"blocks.9.att.key.lora_A": torch.zeros(4, 64)}, "which this model has not"),
        ({"blocks.0.att.key.lora_A": torch.zeros(4, 64)}, "lacks its lora_A or lora_B"),
        (
            {"blocks.0.att.key.lora_A": torch.zeros(4, 64), "blocks.0.att.key.lora_B": torch.zeros(64, 5)},
            "does not fit",
        ),
        ({"blocks.0.att.key.disha": torch.zeros(4, 63)}, "has shape"),
        ({"blocks.0.ln1.weight": torch.zeros(63)}, "no place for"),
        ({"blocks.0.ln1.weight": torch.full((64,), torch.inf)}, "not finite"),
    ],
)
def test_adapters_of_another_model_are_told(weights, tmp_path, content, reason):
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=reason):
        merge_lora(weights, tmp_path / "bad.pth", alpha=4)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"r": 0, "lora_alpha": 1}', '{"r": "x"}', '{"r": 1, "lora_alpha": 1, "use_dora": 1}']
)
def test_a_config_that_says_nothing_is_told(weights, tmp_path, text):
    save_file({"blocks.0.att.key.lora_A.weight": torch.zeros(1, 64)}, Path(tmp_path / "adapter_model.safetensors"))
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"not peft's adapter_config.json"):
        merge_lora(weights, tmp_path)
