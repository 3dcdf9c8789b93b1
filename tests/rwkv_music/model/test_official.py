"""Every version computes what the official implementation computes, in one pass or in pieces."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.model.official import from_official, to_official
from rwkv_music.model.state import State, StateError
from rwkv_music.model.versions import Model, build_model, read_spec, shapes_of, tidy
from rwkv_music_kernels.choose import choose_kernels

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
BACKENDS = ["reference", "torch", "cpu"]
# Logits of up to 7 are sums that a processor may add in another order for another number of rows: 60 units in the last
# place of float32. The official ones are held to 1e-4.
ROUNDING = 3e-5
NAMES = {"4": ("att_x", "att_aa", "att_bb", "att_pp", "ffn_x")}


@pytest.fixture(scope="module", params=VERSIONS)
def folder(request: pytest.FixtureRequest, data: Path) -> Path:
    return data / "engine" / f"v{request.param}"


@pytest.fixture(scope="module")
def official(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "golden.safetensors")


@pytest.fixture(scope="module", params=BACKENDS)
def model(folder: Path, request: pytest.FixtureRequest) -> Model:
    tensors = load_weights(folder / "model.pth")
    spec = read_spec(shapes_of(tensors))
    assert f"v{spec.version}" == folder.name
    weights = {name: tensor.float() for name, tensor in tidy(tensors, spec).items()}
    return build_model(spec, weights, choose_kernels("cpu", request.param))


def run(model: Model, ids: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
    with torch.inference_mode():
        logits, state = model.forward(ids[None], state or State.zeros(model.spec))
    return logits[0], state


def test_logits_and_state_are_the_official_ones(model, official):
    logits, state = run(model, official["tokens"])
    torch.testing.assert_close(logits, official["logits"], rtol=0, atol=1e-4)
    names = NAMES.get(model.spec.version, ("att_x", "att_kv", "ffn_x"))
    flat = to_official(state, model.spec)
    for name, tensor in zip((f"state.{i}.{name}" for i in range(2) for name in names), flat, strict=True):
        torch.testing.assert_close(tensor, official[name], rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("cut", [1, 16, 39])
def test_two_pieces_are_one_pass(model, official, cut):
    ids = official["tokens"]
    whole, end = run(model, ids)
    first, state = run(model, ids[:cut])
    second, state = run(model, ids[cut:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(state.wkv, end.wkv, rtol=1e-5, atol=1e-5)


def test_token_by_token_is_one_pass(model, official):
    whole, _ = run(model, official["tokens"])
    state, rows = State.zeros(model.spec), []
    for token in official["tokens"]:
        logits, state = run(model, token[None], state)
        rows.append(logits[0])
    torch.testing.assert_close(torch.stack(rows), whole, rtol=0, atol=ROUNDING)


def test_the_official_list_of_a_state_comes_back_and_goes_on(model, official):
    ids = official["tokens"]
    _, state = run(model, ids[:20])
    again = from_official(to_official(state, model.spec), model.spec)
    assert all(torch.equal(x, y) for x, y in zip(state.tensors().values(), again.tensors().values(), strict=True))
    logits, _ = run(model, ids[20:], again)
    torch.testing.assert_close(logits, official["logits"][20:], rtol=0, atol=1e-4)


def test_an_official_list_holds_one_piece_of_this_model(model):
    with pytest.raises(StateError, match="pick one first"):
        to_official(State.zeros(model.spec, 2), model.spec)
    flat = to_official(State.zeros(model.spec), model.spec)
    with pytest.raises(StateError, match="holds"):
        from_official(flat[:-1], model.spec)
    with pytest.raises(StateError, match="holds"):
        from_official([torch.zeros(3), *flat[1:]], model.spec)
