"""The official first weights of every version, at places that can be counted by hand; RWKV-7's are held to a golden."""

import math

import pytest
import torch

from rwkv_music.model.initial import initial_weights, standard_spec
from rwkv_music.model.versions import tensor_shapes

LAYERS, WIDTH, VOCABULARY = 3, 128, 300
VERSIONS = ("4", "5.0", "5.1", "5.2", "6", "7")


def weights_of(version: str) -> dict[str, torch.Tensor]:
    spec = standard_spec(version, LAYERS, WIDTH, VOCABULARY)
    return initial_weights(spec, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_tensor_is_made_and_the_blocks_begin_as_the_identity(version):
    weights = weights_of(version)
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == tensor_shapes(
        standard_spec(version, LAYERS, WIDTH, VOCABULARY)
    )
    for layer in range(LAYERS):
        assert not weights[f"blocks.{layer}.att.output.weight"].any()
        assert not weights[f"blocks.{layer}.ffn.value.weight"].any()


@pytest.mark.parametrize("version, rest", [("4", 0.0), ("5.0", 1.0), ("5.2", 1.0), ("6", 1.0)])
def test_matrices_are_orthogonal_with_the_gains_of_their_version(version, rest):
    weights = weights_of(version)
    value, receptance = (weights[f"blocks.1.att.{name}.weight"] for name in ("value", "receptance"))
    torch.testing.assert_close(value @ value.T, torch.eye(WIDTH), atol=1e-5, rtol=0)
    torch.testing.assert_close(receptance @ receptance.T, rest * torch.eye(WIDTH), atol=1e-5, rtol=0)
    head = weights["head.weight"]
    gain = 0.25 * VOCABULARY / WIDTH
    torch.testing.assert_close(head.T @ head, gain * torch.eye(WIDTH), atol=1e-5, rtol=0)
    key = weights["blocks.1.ffn.key.weight"]
    # RWKV-4 is four times as wide there, and its trainer multiplies by the root of that.
    torch.testing.assert_close(key.T @ key, (4.0 if version == "4" else 1.0) * torch.eye(WIDTH), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "version, name, channel, expected",
    [
        ("4", "att.time_decay", 127, 3.0),
        ("4", "att.time_first", 1, math.log(0.3) + 0.5),
        ("4", "att.time_mix_v", 64, 0.5 ** (2 / 3) + 0.15),
        ("4", "ffn.time_mix_r", 64, 0.5 ** (2 / 3)),
        ("5.0", "att.time_decay", 1, -1.0),
        ("5.0", "att.time_first", 0, -3.0),
        ("5.1", "att.time_faaaa", 0, 0.5),
        ("5.2", "att.time_decay", 0, -6.0),
        ("5.2", "att.time_faaaa", 1, 0.5 * (1 - 1 / 127) + 0.1),
        ("5.2", "att.time_mix_g", 64, 0.5 ** (1 / 3)),
        ("6", "att.time_maa_x", 64, 1 - 0.5 ** (2 / 3)),
        ("6", "att.time_maa_r", 64, 1 - 0.5 ** (1 / 3)),
        ("6", "ffn.time_maa_r", 64, 1 - 0.5 ** (8 / 27)),
        ("6", "att.time_decay", 127, -1.0),
        ("6", "att.ln_x.weight", 5, (2 / 3) ** 0.7),
    ],
)
def test_vectors_are_those_of_the_trainers(version, name, channel, expected):
    vector = weights_of(version)[f"blocks.1.{name}"].flatten()
    assert vector[channel].item() == pytest.approx(expected, abs=1e-6)
