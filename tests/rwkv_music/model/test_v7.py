"""RWKV-7: its dimensions, its initialisation, its relatives."""

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.spec import ModelError
from rwkv_music.model.state import State
from rwkv_music.model.v7 import Rwkv7Spec
from rwkv_music.model.versions import build_model, read_spec, tidy
from rwkv_music_kernels.choose import choose_kernels


def test_the_initialisation_is_the_official_one(data):
    official = load_file(data / "engine/init_v7_L3_C128.safetensors")
    weights = initial_weights(new_spec(3, 128, 128), torch.Generator().manual_seed(0))
    # The official file holds a vector for layer 0 that no computation reads.
    official.pop("blocks.0.att.v0")
    for name, tensor in official.items():
        torch.testing.assert_close(weights[name].flatten(), tensor.flatten(), rtol=0, atol=1e-6, msg=name)


def test_matrices_start_orthogonal_and_outputs_at_zero():
    weights = initial_weights(new_spec(2, 128, 64), torch.Generator().manual_seed(0))
    receptance = weights["blocks.1.att.receptance.weight"]
    torch.testing.assert_close(receptance @ receptance.T, torch.eye(128), rtol=0, atol=1e-5)
    key = weights["blocks.1.att.key.weight"]
    torch.testing.assert_close(key @ key.T, 0.01 * torch.eye(128), rtol=0, atol=1e-6)
    assert not weights["blocks.1.att.output.weight"].any()
    assert not weights["blocks.1.ffn.value.weight"].any()
    assert weights["emb.weight"].abs().max() <= 1e-4


def test_the_ranks_follow_the_official_rule():
    spec = new_spec(12, 512, 65536)
    assert isinstance(spec, Rwkv7Spec)
    assert (spec.decay_rank, spec.rate_rank, spec.value_rank, spec.gate_rank) == (64, 64, 32, 128)


def shapes_of(spec_layers: int = 2) -> dict[str, tuple[int, ...]]:
    weights = initial_weights(new_spec(spec_layers, 64, 32), torch.Generator().manual_seed(0))
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def test_the_spec_is_read_off_the_shapes_in_any_order():
    shapes = shapes_of()
    backwards = dict(reversed(shapes.items()))
    assert read_spec(backwards) == read_spec(shapes) == new_spec(2, 64, 32)


def test_a_model_of_one_layer_mixes_no_values():
    spec = read_spec(shapes_of(1))
    assert isinstance(spec, Rwkv7Spec)
    assert (spec.layers, spec.value_rank) == (1, 0)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("blocks.0.ffn.s_emb.weight", "RWKV-7a"),
        ("blocks.0.ffn.enn.weight", "RWKV-8"),
        ("blocks.0.qkv.qq.weight", "RWKV-7b"),
    ],
)
def test_a_relative_that_computes_something_else_is_refused(name, reason):
    with pytest.raises(ModelError, match=reason):
        read_spec(shapes_of() | {name: (1, 64)})


def test_an_unknown_tensor_is_refused():
    weights = initial_weights(new_spec(2, 64, 32), torch.Generator().manual_seed(0))
    spec = read_spec({name: tuple(tensor.shape) for name, tensor in weights.items()})
    with pytest.raises(ModelError, match="unknown tensor 'blocks.1.att.extra'"):
        tidy(weights | {"blocks.1.att.extra": torch.zeros(1)}, spec)


def test_a_tensor_of_another_size_is_refused_and_squeezed_ones_are_not():
    weights = initial_weights(new_spec(2, 64, 32), torch.Generator().manual_seed(0))
    spec = read_spec({name: tuple(tensor.shape) for name, tensor in weights.items()})
    squeezed = tidy(weights | {"blocks.1.att.w0": weights["blocks.1.att.w0"].squeeze()}, spec)
    assert squeezed["blocks.1.att.w0"].shape == (1, 1, 64)
    with pytest.raises(ModelError, match=r"'blocks.1.att.w0' has shape \[32\], expected \[1, 1, 64\]"):
        tidy(weights | {"blocks.1.att.w0": torch.zeros(32)}, spec)


def test_what_is_dropped_from_every_mix_is_gone_from_the_logits():
    weights = initial_weights(new_spec(2, 64, 32), torch.Generator().manual_seed(0))
    weights = {name: tensor + 0.1 for name, tensor in weights.items()}
    model = build_model(new_spec(2, 64, 32), weights, choose_kernels("cpu", "reference"))
    ids, start = torch.arange(8)[None], State.zeros(model.spec)
    nothing, _ = model.forward(ids, start, drop=lambda x, place: torch.zeros_like(x))
    alone, _ = model.forward(ids[:, 5:6], start, drop=lambda x, place: torch.zeros_like(x))
    # With no mix at all a token's logits depend on that token only.
    torch.testing.assert_close(nothing[:, 5], alone[:, 0])
    kept, _ = model.forward(ids, start, drop=lambda x, place: x.clone())
    torch.testing.assert_close(kept, model.forward(ids, start)[0])
    assert not torch.allclose(kept, nothing)
