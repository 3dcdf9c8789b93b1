"""Every layout from an official model: turned into it here by hand, read back, and compared bit by bit."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.spec import ModelError
from rwkv_music.model.versions import read_spec, tidy

Tensors = dict[str, Tensor]
VERSIONS = ["v4", "v5.0", "v5.1", "v5.2", "v6", "v7"]


@pytest.fixture(scope="module")
def golden(data: Path) -> Callable[[str], Tensors]:
    return lambda version: torch.load(data / "engine" / version / "model.pth", weights_only=True)


def written(tensors: Tensors, path: Path, metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file whose names stand in no order that means anything."""
    names = list(tensors)
    random.Random(1).shuffle(names)
    save_file({name: tensors[name].contiguous() for name in names}, path, metadata)
    return path


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape, name
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def used(tensors: Tensors) -> Tensors:
    """Without what RWKV-7 files carry in block 0 and nothing reads."""
    return {name: t for name, t in tensors.items() if name not in {f"blocks.0.att.v{n}" for n in "012"}}


WRAPPED: dict[str, Callable[[Tensors], object]] = {
    "bare": lambda t: t,
    "state_dict": lambda t: {"state_dict": t, "epoch": 3},
    "module in DeepSpeed": lambda t: {"module": {f"_forward_module.{name}": x for name, x in t.items()}},
    "Lightning": lambda t: {"state_dict": {f"model.{name}": x for name, x in t.items()}, "global_step": 7},
    "both prefixes": lambda t: {f"module._forward_module.model.{name}": x for name, x in t.items()},
    "parameters": lambda t: {name: torch.nn.Parameter(x) for name, x in t.items()},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wrap", WRAPPED)
def test_official_dictionaries_however_wrapped(golden, tmp_path, version, wrap):
    torch.save(WRAPPED[wrap](golden(version)), tmp_path / "model.pth")
    weights = load_weights(tmp_path / "model.pth")
    assert weights.layout == "official"
    assert_same(weights, golden(version))
    assert weights.shapes == {name: tuple(tensor.shape) for name, tensor in golden(version).items()}


def as_web_rwkv(tensors: Tensors, version: str) -> Tensors:
    """What web-rwkv's converter writes."""
    heads = tensors["blocks.0.att.time_faaaa"].shape[0] if version == "v5.1" else 0
    turned = ["time_mix_w1", "time_mix_w2", "time_decay_w1", "time_decay_w2"] if version == "v6" else []
    turned += ["w1", "w2", "a1", "a2", "g1", "g2", "v1", "v2"] if version == "v7" else []
    made: Tensors = {}
    for name, tensor in tensors.items():
        new = name.replace("time_faaaa", "time_first").replace("time_maa", "time_mix")
        if heads and new.endswith(("time_decay", "time_first")):
            tensor = tensor[:, None].repeat(1, tensors["emb.weight"].shape[1] // heads)
        if new.rsplit(".", 1)[1] in turned:
            tensor = tensor.swapaxes(-1, -2)
        made[new] = tensor.half()
    return made


@pytest.mark.parametrize("version", ["v4", "v5.1", "v5.2", "v6", "v7"])
@pytest.mark.parametrize("metadata", [{"format": "pt"}, None])
def test_web_rwkv(golden, tmp_path, version, metadata):
    expected = {name: tensor.half() for name, tensor in golden(version).items()}
    if version == "v5.1":
        for name in [name for name in expected if name.endswith(("time_decay", "time_faaaa"))]:
            expected[name] = expected[name][:, None].expand(2, 32)
    weights = load_weights(written(as_web_rwkv(golden(version), version), tmp_path / "model.st", metadata))
    # RWKV-4 has the same names and shapes in both layouts.
    assert weights.layout == ("official" if version == "v4" else "web-rwkv")
    assert_same(weights, expected)
    assert read_spec(weights.shapes).version == {"v5.1": "5.2"}.get(version, version[1:])


def test_the_exponential_of_rwkv_5_0_is_never_lost(golden, tmp_path):
    weights = load_weights(written(golden("v5.0"), tmp_path / "model.safetensors"))
    assert "blocks.0.att.time_first" in weights and weights.layout == "official"


def as_transformers(tensors: Tensors) -> Tensors:
    """The names of RwkvForCausalLM and of the remote code for RWKV 5 and 6."""
    long = {"k": "key", "v": "value", "r": "receptance", "g": "gate"}
    made: Tensors = {}
    for name, tensor in tensors.items():
        name = name.replace("emb.", "embeddings.").replace("blocks.0.ln0", "blocks.0.pre_ln")
        name = name.replace(".att.", ".attention.").replace(".ffn.", ".feed_forward.")
        if ".time_mix_" in name:
            name = name[:-1] + long[name[-1]]
        made[name if name == "head.weight" else f"rwkv.{name}"] = tensor
    return made


@pytest.mark.parametrize("version", ["v4", "v5.0", "v5.1", "v5.2", "v6"])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_transformers(golden, tmp_path, version, suffix):
    tensors = as_transformers(golden(version))
    if suffix == "bin":
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        written(tensors, tmp_path / "model.safetensors")
    # Published models say this and are not divided.
    (tmp_path / "config.json").write_text('{"model_type": "rwkv", "rescale_every": 6}')
    weights = load_weights(tmp_path)
    assert weights.layout == "transformers"
    assert_same(weights, golden(version))


@pytest.mark.parametrize("every", [1, 2, 6])
@pytest.mark.parametrize("place", ["config", "metadata"])
def test_divided_weights_are_multiplied_back_where_the_file_says_so(golden, tmp_path, every, place):
    tensors = as_transformers(golden("v4"))
    for layer in range(2):
        for name in ("attention.output.weight", "feed_forward.value.weight"):
            tensors[f"rwkv.blocks.{layer}.{name}"] = tensors[f"rwkv.blocks.{layer}.{name}"] / 2 ** (layer // every)
    told = {"layers_are_rescaled": "true", "rescale_every": str(every)}
    written(tensors, tmp_path / "model.safetensors", told if place == "metadata" else None)
    if place == "config":
        about = json.dumps({"layers_are_rescaled": True, "rescale_every": every})
        (tmp_path / "config.json").write_text(about)
    assert_same(load_weights(tmp_path / "model.safetensors"), golden("v4"))


@pytest.mark.parametrize("every", ["six", -1, [6], 10**9])
def test_a_rescale_that_is_no_number_is_refused(golden, tmp_path, every):
    written(as_transformers(golden("v4")), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"layers_are_rescaled": True, "rescale_every": every}))
    with pytest.raises(CheckpointError, match="rescale_every"):
        load_weights(tmp_path)


def test_a_rescale_by_more_than_any_number_is_refused(golden, tmp_path):
    told = {"layers_are_rescaled": "true", "rescale_every": "1"}
    for layer in ("999", "9" * 100):
        far = {f"rwkv.blocks.{layer}.attention.output.weight": torch.ones(2, 2)}
        weights = load_weights(written(as_transformers(golden("v4")) | far, tmp_path / "model.safetensors", told))
        with pytest.raises(CheckpointError if layer == "999" else ModelError):
            weights[f"blocks.{layer}.att.output.weight"]
            read_spec(weights.shapes)


def as_fla7(tensors: Tensors, mixes: str) -> Tensors:
    """The names of RWKV7ForCausalLM; mixes: how the six x vectors of a layer lie."""
    made = {
        "model.embeddings.weight": tensors["emb.weight"],
        "lm_head.weight": tensors["head.weight"],
        "model.norm.weight": tensors["ln_out.weight"],
        "model.norm.bias": tensors["ln_out.bias"],
        "model.layers.0.pre_norm.weight": tensors["blocks.0.ln0.weight"],
        "model.layers.0.pre_norm.bias": tensors["blocks.0.ln0.bias"],
    }
    for layer in range(2):
        old, new = f"blocks.{layer}.", f"model.layers.{layer}."
        for kind in ("weight", "bias"):
            made[f"{new}attn_norm.{kind}"] = tensors[f"{old}ln1.{kind}"]
            made[f"{new}ffn_norm.{kind}"] = tensors[f"{old}ln2.{kind}"]
            made[f"{new}attn.g_norm.{kind}"] = tensors[f"{old}att.ln_x.{kind}"]
        for short, long in {"r": "receptance", "k": "key", "v": "value", "o": "output"}.items():
            made[f"{new}attn.{short}_proj.weight"] = tensors[f"{old}att.{long}.weight"]
        for letter in "wag" if layer == 0 else "wagv":
            made[f"{new}attn.{letter}_lora.lora.0.weight"] = tensors[f"{old}att.{letter}1"].T
            made[f"{new}attn.{letter}_lora.lora.2.weight"] = tensors[f"{old}att.{letter}2"].T
            if letter != "g":
                made[f"{new}attn.{letter}_lora.lora.2.bias"] = tensors[f"{old}att.{letter}0"][0, 0]
        for name in ("k_k", "k_a"):
            made[f"{new}attn.{name}"] = tensors[f"{old}att.{name}"][0, 0]
        made[f"{new}attn.r_k"] = tensors[f"{old}att.r_k"]
        vectors = [tensors[f"{old}att.x_{letter}"] for letter in "rwkvag"]
        if mixes == "apart":
            made |= {f"{new}attn.x_{letter}": vector for letter, vector in zip("rwkvag", vectors, strict=True)}
        else:
            together = torch.cat(vectors).reshape(6, 1, 1, -1)
            made[f"{new}attn.x_x"] = together if mixes == "6,1,1,C" else together[:, 0, 0]
        made[f"{new}ffn.x_k"] = tensors[f"{old}ffn.x_k"][0, 0]
        made[f"{new}ffn.key.weight"] = tensors[f"{old}ffn.key.weight"]
        made[f"{new}ffn.value.weight"] = tensors[f"{old}ffn.value.weight"]
    return made


@pytest.mark.parametrize("mixes", ["apart", "6,C", "6,1,1,C"])
def test_fla_rwkv_7(golden, tmp_path, mixes):
    weights = load_weights(written(as_fla7(golden("v7"), mixes), tmp_path / "model.safetensors"))
    assert weights.layout == "fla-rwkv7"
    assert_same(weights, used(golden("v7")))


def test_norms_without_biases_have_biases_of_zero(golden, tmp_path):
    tensors = as_fla7(golden("v7"), "apart")
    bare = {name: t for name, t in tensors.items() if not name.endswith("norm.bias") or "g_norm" in name}
    weights = load_weights(written(bare, tmp_path / "model.safetensors"))
    zeroed = ("ln0.bias", "ln1.bias", "ln2.bias", "ln_out.bias")
    expected = {n: torch.zeros_like(t) if n.endswith(zeroed) else t for n, t in used(golden("v7")).items()}
    assert_same(weights, expected)


@pytest.mark.parametrize("lost", ["model.layers.1.ffn_norm.bias", "model.layers.0.pre_norm.weight"])
def test_one_missing_norm_stays_missing(golden, tmp_path, lost):
    tensors = as_fla7(golden("v7"), "apart")
    del tensors[lost]
    weights = load_weights(written(tensors, tmp_path / "model.safetensors"))
    with pytest.raises(ModelError, match="no tensor named"):
        tidy(weights, read_spec(weights.shapes))


def as_fla6(tensors: Tensors) -> Tensors:
    """The names of RWKV6ForCausalLM, its groups in the order r, w, k, v, g."""
    made = {
        "model.embeddings.weight": tensors["emb.weight"],
        "lm_head.weight": tensors["head.weight"],
        "model.norm.weight": tensors["ln_out.weight"],
        "model.norm.bias": tensors["ln_out.bias"],
        "model.layers.0.pre_norm.weight": tensors["blocks.0.ln0.weight"],
        "model.layers.0.pre_norm.bias": tensors["blocks.0.ln0.bias"],
    }
    for layer in range(2):
        att = {n.split(".att.")[1]: t for n, t in tensors.items() if n.startswith(f"blocks.{layer}.att.")}
        ffn = {n.split(".ffn.")[1]: t for n, t in tensors.items() if n.startswith(f"blocks.{layer}.ffn.")}
        new = f"model.layers.{layer}."
        for kind in ("weight", "bias"):
            made[f"{new}attn_norm.{kind}"] = tensors[f"blocks.{layer}.ln1.{kind}"]
            made[f"{new}ffn_norm.{kind}"] = tensors[f"blocks.{layer}.ln2.{kind}"]
            made[f"{new}attn.g_norm.{kind}"] = att[f"ln_x.{kind}"]
        w, k, v, r, g = att["time_maa_w1"].chunk(5, dim=1)
        made[f"{new}attn.x_proj.0.linear.weight"] = torch.cat([r, w, k, v, g], dim=1).T
        w, k, v, r, g = att["time_maa_w2"]
        made[f"{new}attn.x_proj.2.weight"] = torch.cat([r, w, k, v, g]).T
        made[f"{new}attn.x_bias"] = torch.cat([att[f"time_maa_{letter}"][0] for letter in "rwkvg"])
        made[f"{new}attn.x_proj.0.mu"] = att["time_maa_x"][0, 0]
        made[f"{new}attn.w_proj.linear.lora.0.weight"] = att["time_decay_w1"].T
        made[f"{new}attn.w_proj.linear.lora.2.weight"] = att["time_decay_w2"].T
        made[f"{new}attn.w_proj.linear.lora.2.bias"] = att["time_decay"][0, 0]
        made[f"{new}attn.bonus"] = att["time_faaaa"]
        made[f"{new}attn.o_proj.weight"] = att["output.weight"]
        for short, long in {"r": "receptance", "k": "key", "v": "value", "g": "gate"}.items():
            made[f"{new}attn.{short}_proj.linear.weight"] = att[f"{long}.weight"]
        for short, long in {"k": "key", "r": "receptance"}.items():
            made[f"{new}ffn.{long}.mu"] = ffn[f"time_maa_{short}"][0, 0]
            made[f"{new}ffn.{long}.linear.weight"] = ffn[f"{long}.weight"]
        made[f"{new}ffn.value.weight"] = ffn["value.weight"]
    return made


def test_fla_rwkv_6(golden, tmp_path):
    weights = load_weights(written(as_fla6(golden("v6")), tmp_path / "model.safetensors"))
    assert weights.layout == "fla-rwkv6"
    assert_same(weights, golden("v6"))


def test_groups_that_do_not_divide_are_refused(golden, tmp_path):
    tensors = as_fla6(golden("v6"))
    tensors["model.layers.1.attn.x_proj.2.weight"] = torch.zeros(128, 33 * 5 + 1)
    with pytest.raises(CheckpointError, match=r"attn.x_proj.2.weight' has shape \[128, 166\]"):
        load_weights(written(tensors, tmp_path / "model.safetensors"))


EXPORTS: dict[str, Callable[[str], str]] = {
    "transformers' own": lambda name: name if name == "head.weight" else f"rwkv7.{name}",
    "layers": lambda name: "model." + name.replace("blocks.", "layers.").replace(".att.", ".attention."),
    "blocks": lambda name: (
        {"emb.weight": "model.embeddings.weight", "head.weight": "lm_head.weight"}.get(name)
        or "model." + name.replace(".att.", ".attention.").replace(".ffn.", ".feed_forward.")
    ),
}


@pytest.mark.parametrize("version", ["v6", "v7"])
@pytest.mark.parametrize("export", EXPORTS)
def test_exports_that_rename_modules(golden, tmp_path, export, version):
    tensors = {EXPORTS[export](name): tensor for name, tensor in golden(version).items()}
    weights = load_weights(written(tensors, tmp_path / "model.safetensors"))
    assert weights.layout == "export"
    assert_same(weights, golden(version))


@pytest.mark.parametrize("layout", ["official", "fla"])
def test_several_files_and_an_index(golden, tmp_path, layout):
    tensors = as_fla7(golden("v7"), "apart") if layout == "fla" else golden("v7")
    places = {name: f"model-0000{1 + index % 3}-of-00003.safetensors" for index, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        written({name: t for name, t in tensors.items() if places[name] == file}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    expected = used(golden("v7")) if layout == "fla" else golden("v7")
    assert_same(load_weights(tmp_path), expected)
    assert_same(load_weights(tmp_path / "model.safetensors.index.json"), expected)


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
def test_one_head_and_ranks_of_one_survive(tmp_path, version):
    tensors = dict(RandomWeights(standard_spec(version, layers=2, width=64, vocabulary=16)))
    if version == "7":
        for name in [name for name in tensors if name.endswith((".w1", ".a1", ".g1", ".v1"))]:
            tensors[name] = tensors[name][:, :1]
            tensors[name[:-1] + "2"] = tensors[name[:-1] + "2"][:1]
    stored = as_fla7(tensors, "6,C") if version == "7" else as_web_rwkv(tensors, f"v{version}")
    expected = used(tensors) if version == "7" else {name: tensor.half() for name, tensor in tensors.items()}
    assert_same(load_weights(written(stored, tmp_path / "model.safetensors")), expected)


STRANGE = {
    "attention in one layer": ("fla", "model.layers.1.attn.q_proj.weight"),
    "7a": ("official", "blocks.0.ffn.s_emb.weight"),
    "8": ("official", "blocks.1.ffn.enn.weight"),
    "Mamba": ("official", "backbone.layers.0.mixer.A_log"),
    "Qwen": ("official", "model.layers.0.self_attn.q_proj.weight"),
    "nothing known": ("web", "blocks.1.att.time_mix_z"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_tensor_too_many_is_no_rwkv(golden, tmp_path, case):
    layout, name = STRANGE[case]
    form = {"fla": lambda t: as_fla7(t, "apart"), "official": dict, "web": lambda t: as_web_rwkv(t, "v7")}[layout]
    tensors = form(golden("v7")) | {name: torch.zeros(4, 4)}
    weights = load_weights(written(tensors, tmp_path / "model.safetensors"))
    with pytest.raises(ModelError):
        tidy(weights, read_spec(weights.shapes))


def test_two_tensors_of_one_official_name_are_refused(golden, tmp_path):
    tensors = as_fla7(golden("v7"), "6,C") | {"model.layers.0.attn.x_r": torch.zeros(128)}
    with pytest.raises(CheckpointError, match="two tensors are one official tensor"):
        load_weights(written(tensors, tmp_path / "model.safetensors"))
    twice = golden("v4") | {"model.emb.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="two tensors are called 'emb.weight'"):
        load_weights(written(twice, tmp_path / "twice.safetensors"))
