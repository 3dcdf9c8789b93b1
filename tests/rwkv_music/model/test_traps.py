"""Where other implementations of RWKV went wrong, each trap with its fact."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.spec import ModelError
from rwkv_music.model.state import State
from rwkv_music.model.v6 import Rwkv6Spec
from rwkv_music.model.v7 import Rwkv7Spec
from rwkv_music.model.versions import build_model, read_spec, shapes_of, tidy
from rwkv_music_kernels.choose import choose_kernels

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def logits_of(weights: Mapping[str, Tensor], ids: Tensor = IDS, state: State | None = None) -> Tensor:
    spec = read_spec(shapes_of(weights))
    model = build_model(spec, dict(tidy(weights, spec)), choose_kernels("cpu", "reference"))
    return model.forward(ids, state or State.zeros(spec, len(ids)))[0]


def official(data: Path, version: str) -> dict[str, Tensor]:
    return {name: x.float() for name, x in load_weights(data / f"engine/v{version}/model.pth").items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_order_of_names_says_nothing(version):
    weights = dict(RandomWeights(standard_spec(version, 2, 64, 32)))
    backwards = dict(reversed(weights.items()))
    assert read_spec(shapes_of(backwards)) == read_spec(shapes_of(weights)) == standard_spec(version, 2, 64, 32)


@pytest.mark.parametrize("version", VERSIONS)
def test_dimensions_of_one_survive(version):
    # One layer, one head, and squeezed as some writers leave them.
    spec = standard_spec(version, 1, 64, 32)
    weights = dict(RandomWeights(spec))
    squeezed = {name: x.flatten() if max(x.shape) == x.numel() else x for name, x in weights.items()}
    shapes = {name: x.shape for name, x in weights.items()}
    # What tells heads from channels must keep its shape.
    told = {name: weights[name] for name in shapes if name.endswith(("r_k", "faaaa", "time_decay"))}
    torch.testing.assert_close(logits_of({**squeezed, **told}), logits_of(weights))


@pytest.mark.parametrize("version", ["6", "7"])
def test_ranks_of_one_are_read_off_the_tensors(version):
    spec = standard_spec(version, 2, 64, 32)
    if isinstance(spec, Rwkv6Spec):
        spec = replace(spec, mix_rank=1, decay_rank=1)
    if isinstance(spec, Rwkv7Spec):
        spec = replace(spec, decay_rank=1, rate_rank=3, value_rank=1, gate_rank=2)
    weights = RandomWeights(spec)
    assert read_spec(weights.shapes) == spec
    assert torch.isfinite(logits_of(weights)).all()


def test_the_first_layer_of_rwkv_7_mixes_no_values_whatever_the_file_holds(data):
    weights = official(data, "7")
    assert "blocks.0.att.v1" in weights
    without = {name: x for name, x in weights.items() if name[:-1] != "blocks.0.att.v"}
    copies = weights | {f"blocks.0.att.v{i}": weights[f"blocks.0.att.a{i}"] for i in range(3)}
    assert torch.equal(logits_of(without), logits_of(weights))
    assert torch.equal(logits_of(copies), logits_of(weights))


@pytest.mark.parametrize("version", ["4", "5.0", "5.1", "5.2", "6"])
def test_the_first_norm_is_taken_in_float32_whatever_the_file_holds(data, version):
    vectors = load_file(data / f"engine/v{version}/golden.safetensors")
    logits = logits_of(official(data, version), vectors["tokens"][None])[0]
    assert (logits - vectors["logits"]).abs().max() < 1e-4
    assert (logits - vectors["logits_pip_bf16file"]).abs().max() > 1e-3


def test_the_bonus_of_5_0_is_a_logarithm_by_its_name(data):
    weights = official(data, "5.0")
    renamed = {name.replace("time_first", "time_faaaa"): x for name, x in weights.items()}
    for name in renamed:
        if name.endswith("time_faaaa"):
            renamed[name] = renamed[name].exp()
    torch.testing.assert_close(logits_of(renamed), logits_of(weights))


def test_5_1_with_its_decay_repeated_over_channels_is_5_2(data):
    weights = official(data, "5.1")
    wide = {
        name: x[:, None].repeat(1, 32) if name.endswith(("time_decay", "time_faaaa")) else x
        for name, x in weights.items()
    }
    assert read_spec(shapes_of(wide)).version == "5.2"
    torch.testing.assert_close(logits_of(wide), logits_of(weights))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_piece_of_a_batch_has_a_state_of_its_own(version):
    spec = standard_spec(version, 2, 64, 32)
    weights = dict(RandomWeights(spec))
    model = build_model(spec, weights, choose_kernels("cpu", "reference"))
    _, first = model.forward(torch.tensor([[7, 8]]), State.zeros(spec))
    _, second = model.forward(torch.tensor([[20, 21]]), State.zeros(spec))
    both = logits_of(weights, IDS.expand(2, -1), State.stack([first, second]))
    torch.testing.assert_close(both[0], logits_of(weights, IDS, first)[0])
    torch.testing.assert_close(both[1], logits_of(weights, IDS, second)[0])
    assert not torch.allclose(both[0], both[1])


@pytest.mark.parametrize(
    "name, shape, reason",
    [
        ("blocks.0.ffn.s_emb.weight", (32, 8), "RWKV-7a"),
        ("blocks.0.qkv.qq.weight", (8, 8), "RWKV-7b"),
        ("blocks.0.ffn.enn.weight", (32, 64), "RWKV-8"),
        ("blocks.0.ffnPre.key.weight", (64, 64), "experiment with RWKV-4"),
        ("head_q.weight", (64, 64), "experiment with RWKV-4"),
        ("backbone.layers.0.mixer.A_log", (64,), "Mamba"),
        ("model.layers.0.self_attn.q_proj.weight", (64, 64), "transformer"),
    ],
)
def test_relatives_are_refused_by_name(name, shape, reason):
    with pytest.raises(ModelError, match=reason):
        read_spec({**RandomWeights(standard_spec("7", 2, 64, 32)).shapes, name: shape})


@pytest.mark.parametrize("version", VERSIONS)
def test_one_tensor_too_many_or_too_few_is_another_model(version):
    weights = dict(RandomWeights(standard_spec(version, 2, 64, 32)))
    with pytest.raises(ModelError, match="unknown tensor 'blocks.1.att.more'"):
        logits_of(weights | {"blocks.1.att.more": torch.zeros(1)})
    del weights["blocks.1.ffn.key.weight"]
    with pytest.raises(ModelError, match="no tensor named 'blocks.1.ffn.key.weight'"):
        logits_of(weights)


def test_a_tuned_start_lies_beside_the_weights_and_is_no_weight(data):
    weights = official(data, "7")
    start = {f"blocks.{layer}.att.time_state": torch.ones(2, 64, 64) for layer in range(2)}
    assert torch.equal(logits_of(weights | start), logits_of(weights))
