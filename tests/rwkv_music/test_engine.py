"""The engine: ids in, logits and a new state out, and nothing given is ever changed."""

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.checkpoint.load import CheckpointError, file_hash, save_weights
from rwkv_music.engine import Engine


@pytest.fixture(scope="module")
def engine(tiny_model):
    return Engine.open(tiny_model)


def test_logits_of_the_last_token_are_the_last_of_all(engine):
    last, _ = engine.advance([5, 6, 7])
    every, _ = engine.advance([5, 6, 7], all_logits=True)
    assert last.shape == (128,) and every.shape == (3, 128)
    assert last.dtype == torch.float32
    torch.testing.assert_close(every[-1], last, rtol=0, atol=0)


def test_the_given_state_stays_as_it_was(engine):
    _, state = engine.advance([1, 2, 3])
    before = state.clone()
    first, _ = engine.advance([4, 5], state)
    again, _ = engine.advance([4, 5], state)
    assert torch.equal(first, again)
    assert torch.equal(state.wkv, before.wkv) and torch.equal(state.time_shift, before.time_shift)


@pytest.mark.parametrize("cut", [1, 5, 1023, 1024, 1025, 1499])
def test_any_split_gives_the_same_logits(engine, cut):
    ids = torch.randint(0, 128, (1500,), generator=torch.Generator().manual_seed(3))
    whole, _ = engine.advance(ids)
    _, state = engine.advance(ids[:cut])
    split, _ = engine.advance(ids[cut:], state)
    torch.testing.assert_close(split, whole, rtol=0, atol=1e-4)


def test_several_pieces_at_once_are_each_alone(engine):
    rows = torch.tensor([[1, 2, 3], [9, 8, 7]])
    together, state = engine.advance(rows)
    for row in range(2):
        alone, own = engine.advance(rows[row])
        assert torch.equal(together[row], alone)
        assert torch.equal(state.pick([row]).wkv, own.wkv)


@pytest.mark.parametrize("ids", [[], [128], [-1], [[[1]]]])
def test_ids_outside_the_vocabulary_are_refused(engine, ids):
    with pytest.raises(ValueError, match="ids must be"):
        engine.advance(ids)


def test_a_state_of_another_batch_is_refused(engine):
    _, state = engine.advance([[1], [2]])
    with pytest.raises(ValueError, match="the state is"):
        engine.advance([1], state)


def test_bfloat16_stays_near_float32(tiny_model, engine):
    ids = list(range(3, 60))
    exact, _ = engine.advance(ids, all_logits=True)
    rough, _ = Engine.open(tiny_model, dtype="bfloat16").advance(ids, all_logits=True)
    exact, rough = exact.log_softmax(-1), rough.log_softmax(-1)
    divergence = (exact.exp() * (exact - rough)).sum(-1).mean()
    assert 0 <= divergence < 0.01


def test_the_hash_is_that_of_the_file(tiny_model, engine):
    assert engine.hash == file_hash(tiny_model)
    assert len(engine.hash) == 64


def test_an_unknown_dtype_is_refused(tiny_model):
    with pytest.raises(ValueError, match="none of float32, bfloat16"):
        Engine.open(tiny_model, dtype="int4")


def test_weights_that_lack_a_tensor_are_refused_with_the_path(tiny_model, tmp_path):
    tensors = load_file(tiny_model)
    del tensors["blocks.1.att.k_a"]
    path = tmp_path / "cut.safetensors"
    save_weights(tensors, path)
    with pytest.raises(CheckpointError, match="cut.safetensors: no tensor named 'blocks.1.att.k_a'"):
        Engine.open(path)


def test_an_adapter_is_merged_at_load_and_makes_another_model(tiny_model, engine, tmp_path):
    torch.save(
        {"blocks.0.att.key.lora_A": torch.ones(2, 64), "blocks.0.att.key.lora_B": torch.ones(64, 2)}, tmp_path / "l.pth"
    )
    merged = Engine.open(tiny_model, lora=tmp_path / "l.pth", alpha=0.1)
    tensors = load_file(tiny_model)
    tensors["blocks.0.att.key.weight"] += 0.1
    save_weights(tensors, tmp_path / "by-hand.safetensors")
    torch.testing.assert_close(
        merged.advance([5, 6])[0], Engine.open(tmp_path / "by-hand.safetensors").advance([5, 6])[0], rtol=0, atol=1e-4
    )
    assert merged.hash not in (engine.hash, Engine.open(tiny_model, lora=tmp_path / "l.pth", alpha=0.2).hash)
