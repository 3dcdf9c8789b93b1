"""What an engine promises of every version: a start of its own, batches that mix nothing, number types that stay near."""

from pathlib import Path

import pytest
import torch

from rwkv_music.checkpoint.load import CheckpointError, save_weights
from rwkv_music.engine import Engine
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.state import State
from rwkv_music_kernels.contract import KernelError

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]


@pytest.fixture(scope="module", params=VERSIONS)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / f"v{request.param}.safetensors"
    save_weights(dict(RandomWeights(standard_spec(request.param, 2, 64, 60))), path)
    return path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kernels", [None, "reference"])
def test_a_row_is_the_same_bits_alone_and_in_any_batch(weights, dtype, kernels):
    engine = Engine.open(weights, dtype=dtype, kernels=kernels)
    alone, own = engine.advance(IDS)
    others = torch.randint(0, 60, (4, len(IDS)), generator=torch.Generator().manual_seed(1))
    others[2] = torch.tensor(IDS)
    together, states = engine.advance(others)
    assert torch.equal(together[2], alone)
    # It leaves the batch, joins another one, and goes on as it would have alone.
    _, elsewhere = engine.advance([7, 7])
    logits, _ = engine.advance(torch.tensor([[8], [8]]), State.stack([elsewhere, states.pick([2])]))
    assert torch.equal(logits[1], engine.advance([8], own)[0])


@pytest.mark.parametrize("dtype, within", [("bfloat16", 0.02), ("int8", 0.02)])
def test_small_number_types_stay_near_float32(weights, dtype, within):
    exact = Engine.open(weights).advance(IDS, all_logits=True)[0].log_softmax(-1)
    rough = Engine.open(weights, dtype=dtype).advance(IDS, all_logits=True)[0].log_softmax(-1)
    assert 0 <= (exact.exp() * (exact - rough)).sum(-1).mean() < within


@pytest.mark.parametrize("version", ["4", "5.2", "6", "7"])
def test_a_width_that_the_fast_way_cannot_take_goes_the_plain_one(version, tmp_path):
    save_weights(dict(RandomWeights(standard_spec(version, 2, 48, 60, head_size=16))), tmp_path / "odd.safetensors")
    engine = Engine.open(tmp_path / "odd.safetensors")
    truth = Engine.open(tmp_path / "odd.safetensors", kernels="reference")
    torch.testing.assert_close(engine.advance(IDS)[0], truth.advance(IDS)[0], rtol=1e-4, atol=1e-4)


def test_int8_needs_the_runner_of_the_cpu(weights):
    with pytest.raises(KernelError, match="int8"):
        Engine.open(weights, dtype="int8", kernels="reference")


def test_a_tuned_start_is_where_every_piece_begins(tmp_path):
    spec = standard_spec("7", 2, 64, 60)
    plain = dict(RandomWeights(spec))
    start = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    tuned = plain | {f"blocks.{layer}.att.time_state": start[layer].contiguous() for layer in range(2)}
    save_weights(plain, tmp_path / "plain.safetensors")
    save_weights(tuned, tmp_path / "tuned.safetensors")
    engine = Engine.open(tmp_path / "plain.safetensors")
    blank = engine.beginning()
    expected, _ = engine.advance(IDS, State(blank.time_shift, blank.channel_shift, start[:, None]))
    assert torch.equal(Engine.open(tmp_path / "tuned.safetensors").advance(IDS)[0], expected)
    assert not torch.equal(engine.advance(IDS)[0], expected)
    del tuned["blocks.1.att.time_state"]
    save_weights(tuned, tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match=r"'blocks.1.att.time_state' has shape"):
        Engine.open(tmp_path / "half.safetensors")
