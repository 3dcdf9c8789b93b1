"""Weights written in every layout: read back bit by bit, whole or not at all, and never over what is there."""

import json
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.save import (
    Written,
    describe,
    official_order,
    save_checkpoint,
    save_weights,
    write_safetensors,
)
from rwkv_music.checkpoint.source import CheckpointError, Stored, Weights
from rwkv_music.files import FileError

VERSIONS = ["v4", "v5.0", "v5.1", "v5.2", "v6", "v7"]
UNUSED = {f"blocks.0.att.v{n}" for n in "012"}


def golden(data: Path, version: str) -> Weights:
    return load_weights(data / "engine" / version / "model.pth")


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape, name
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("layout, name", [("official", "out.pth"), ("safetensors", "out.safetensors")])
def test_official_names_come_back_exactly(data, tmp_path, version, layout, name):
    weights = golden(data, version)
    save_checkpoint(weights, tmp_path / name, layout)
    again = load_weights(tmp_path / name)
    assert again.layout == "official"
    assert_same(again, weights)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("version", ["v6", "v7"])
@pytest.mark.parametrize("name", ["folder", "model.safetensors"])
def test_fla_comes_back_exactly(data, tmp_path, version, name):
    weights = golden(data, version)
    save_checkpoint(weights, tmp_path / name, "fla")
    again = load_weights(tmp_path / name)
    assert again.layout == f"fla-rwkv{version[1]}"
    assert_same(again, {key: weights[key] for key in weights if key not in UNUSED})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_fla_config_says_the_dimensions(data, tmp_path):
    save_checkpoint(golden(data, "v7"), tmp_path / "seven", "fla")
    seven = json.loads((tmp_path / "seven" / "config.json").read_text())
    assert seven["architectures"] == ["RWKV7ForCausalLM"] and seven["model_type"] == "rwkv7"
    assert [seven[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")] == [128, 128, 2]
    assert [seven[name] for name in ("head_dim", "num_heads", "intermediate_size")] == [64, 2, 320]
    ranks = ("decay_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim")
    assert [seven[name] for name in ranks] == [32, 32, 32, 64]
    assert seven["value_dim"] == [128, 128] and seven["torch_dtype"] == "bfloat16" and seven["norm_first"]
    save_checkpoint(golden(data, "v6"), tmp_path / "six", "fla")
    six = json.loads((tmp_path / "six" / "config.json").read_text())
    assert six["architectures"] == ["RWKV6ForCausalLM"] and six["num_heads"] == 2
    assert six["proj_low_rank_dim"] == 32 and six["gate_low_rank_dim"] == 64
    assert six["expand_k"] == six["expand_v"] == 1 and six["intermediate_size"] == 160


def test_fla_names_are_in_full(data, tmp_path):
    save_checkpoint(golden(data, "v7"), tmp_path / "seven", "fla")
    names = set(load_file(tmp_path / "seven" / "model.safetensors"))
    assert {"lm_head.weight", "model.embeddings.weight", "model.norm.bias", "model.layers.0.pre_norm.weight"} <= names
    assert all(name == "lm_head.weight" or name.startswith("model.") for name in names)
    assert not any(name.startswith("model.layers.0.attn.v_lora") for name in names)


@pytest.mark.parametrize("version", ["v4", "v5.0", "v5.1", "v5.2"])
def test_fla_has_no_place_for_older_versions(data, tmp_path, version):
    with pytest.raises(CheckpointError, match="no place in this layout, which holds RWKV 6 and 7"):
        save_checkpoint(golden(data, version), tmp_path / "out", "fla")
    assert not list(tmp_path.iterdir())


OUTPUTS: list[tuple[Written, str]] = [
    ("official", "out.pth"),
    ("safetensors", "out.safetensors"),
    ("fla", "out"),
    ("fla", "fla.safetensors"),
]


@pytest.mark.parametrize("layout, name", OUTPUTS)
def test_nothing_is_overwritten_without_force(data, tmp_path, layout, name):
    weights, path = golden(data, "v7"), tmp_path / name
    save_checkpoint(weights, path, layout)
    other = {key: torch.zeros_like(tensor) for key, tensor in weights.items()}
    with pytest.raises(FileError, match="exists"):
        save_checkpoint(other, path, layout)
    assert load_weights(path)["emb.weight"].any()
    save_checkpoint(other, path, layout, force=True)
    assert not load_weights(path)["emb.weight"].any()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("layout, name", OUTPUTS)
def test_a_folder_that_is_not_there_is_refused(data, tmp_path, layout, name):
    with pytest.raises(FileError, match="there is no folder"):
        save_checkpoint(golden(data, "v7"), tmp_path / "none" / name, layout)


def test_force_keeps_what_else_is_in_a_folder(data, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    save_checkpoint(golden(data, "v7"), tmp_path, "fla", force=True)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]


class Failing(Mapping[str, Tensor]):
    """Weights of which one cannot be read, the second time it is asked for."""

    def __init__(self, weights: Mapping[str, Tensor]):
        self.weights = weights
        self.asked = 0

    def __getitem__(self, name: str) -> Tensor:
        self.asked += name == "ln_out.bias"
        if self.asked > 1 or name not in self.weights:
            raise CheckpointError(f"{name} cannot be read")
        return self.weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


@pytest.mark.parametrize("layout, name", OUTPUTS)
def test_a_failure_leaves_nothing_behind(data, tmp_path, layout, name):
    weights = Failing(dict(golden(data, "v7")))
    weights.asked = layout == "official"
    with pytest.raises(CheckpointError, match="cannot be read"):
        save_checkpoint(weights, tmp_path / name, layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout, name", [("safetensors", "out.safetensors"), ("fla", "out")])
def test_one_tensor_is_held_at_a_time(data, tmp_path, layout, name):
    alive, most = weakref.WeakSet(), 0

    def made(stored: Stored) -> Tensor:
        nonlocal most
        most = max(most, len(alive))
        tensor = stored.read().clone()
        alive.add(tensor)
        return tensor

    tensors = {
        key: Stored(stored.shape, stored.dtype, lambda stored=stored: made(stored))
        for key, stored in golden(data, "v7").tensors.items()
    }
    save_checkpoint(Weights(tmp_path, tensors, "official"), tmp_path / name, layout)
    assert most <= 1


def test_a_view_is_not_written_with_all_that_it_is_a_view_of(tmp_path):
    large = torch.arange(1_000_000, dtype=torch.float32)
    save_checkpoint({"emb.weight": large[5:10]}, tmp_path / "small.pth", "official")
    assert (tmp_path / "small.pth").stat().st_size < 10_000
    assert load_weights(tmp_path / "small.pth")["emb.weight"].tolist() == [5, 6, 7, 8, 9]


def test_safetensors_are_what_the_library_reads_with_metadata_and_aligned(tmp_path):
    tensors = {
        "half": torch.arange(3, dtype=torch.float16),
        "turned": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
        "one": torch.tensor(2.5, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(5)),
    }
    save_weights(tensors, tmp_path / "out.safetensors", {"made": "here"})
    found = load_file(tmp_path / "out.safetensors")
    assert_same(found, tensors)
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "made": "here"}
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in found.values())


def test_integers_are_not_written_as_weights(tmp_path):
    with pytest.raises(CheckpointError, match="'ids' is torch.int64"):
        write_safetensors(describe({"ids": torch.arange(3)}), tmp_path / "out.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_order_lets_the_rwkv_package_tell_the_version(data):
    names = golden(data, "v5.2").shapes
    for shuffled in (sorted(names), sorted(names, reverse=True)):
        order = official_order(dict.fromkeys(shuffled))
        assert order[0] == "emb.weight" and sorted(order) == sorted(names)
        assert order.index("blocks.0.att.ln_x.weight") < order.index("blocks.0.att.time_decay")
        assert order.index("blocks.0.ffn.value.weight") < order.index("blocks.1.ln1.weight")
        assert set(order[-3:]) == {"ln_out.weight", "ln_out.bias", "head.weight"}
