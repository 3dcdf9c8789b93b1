"""States of every form go on exactly where they stood, whichever way their makers lay them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.checkpoint.states import load_state, save_state
from rwkv_music.files import FileError
from rwkv_music.model.official import to_official
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model, read_spec, shapes_of, tidy
from rwkv_music_kernels.choose import choose_kernels

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def official_model(data: Path, version: str) -> Model:
    tensors = load_weights(data / f"engine/v{version}/model.pth")
    spec = read_spec(shapes_of(tensors))
    weights = {name: tensor.float() for name, tensor in tidy(tensors, spec).items()}
    return build_model(spec, weights, choose_kernels("cpu", "reference"))


def same(one: State, other: State) -> bool:
    return all(torch.equal(x, y) for x, y in zip(one.tensors().values(), other.tensors().values(), strict=True))


@pytest.fixture(params=VERSIONS)
def stood(request: pytest.FixtureRequest, data: Path) -> tuple[Spec, State]:
    model = official_model(data, request.param)
    return model.spec, model.forward(IDS, State.zeros(model.spec))[1]


@pytest.mark.parametrize("form, name", [("ours", "s.safetensors"), ("pip", "s.pth")])
def test_what_is_written_comes_back(stood, tmp_path, form, name):
    spec, state = stood
    save_state(state, spec, tmp_path / name, form)
    assert same(load_state(tmp_path / name, spec), state)
    with pytest.raises(FileError, match="--force"):
        save_state(state, spec, tmp_path / name, form)


def test_a_list_of_pypi_rwkv_lies_as_pypi_rwkv_lays_it(stood, data, tmp_path):
    spec, _ = stood
    golden = load_file(data / f"engine/v{spec.version}/golden.safetensors")
    names = ("att_x", "att_aa", "att_bb", "att_pp", "ffn_x") if spec.version == "4" else ("att_x", "att_kv", "ffn_x")
    flat = [golden[f"state.{layer}.{name}"] for layer in range(spec.layers) for name in names]
    torch.save(flat, tmp_path / "theirs.pth")
    model = official_model(data, spec.version)
    _, ours = model.forward(golden["tokens"][None], State.zeros(spec))
    theirs = load_state(tmp_path / "theirs.pth", spec)
    torch.testing.assert_close(theirs.wkv, ours.wkv, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("version", ["6", "7"])
def test_a_tuned_state_gives_the_official_loss(version, data, tmp_path):
    model = official_model(data, version)
    vectors = load_file(data / f"engine/v{version}/train.safetensors")
    tuned = {f"blocks.{layer}.att.time_state": vectors["time_state"][layer].clone() for layer in range(2)}
    torch.save(tuned, tmp_path / "tuned.pth")
    save_file({name: x.mT.contiguous().half() for name, x in tuned.items()}, tmp_path / "tuned.st")
    for name in ("tuned.pth", "tuned.st"):
        start = load_state(tmp_path / name, model.spec)
        logits, _ = model.forward(vectors["idx"], State.stack([start, start]))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), vectors["targets"].flatten())
        within = 1e-5 if name.endswith(".pth") else 1e-3
        assert loss.item() == pytest.approx(vectors["loss_with_state"].item(), abs=within)
    save_state(load_state(tmp_path / "tuned.pth", model.spec), model.spec, tmp_path / "again.pth", "time_state")
    assert same(load_state(tmp_path / "again.pth", model.spec), load_state(tmp_path / "tuned.pth", model.spec))


@pytest.mark.parametrize("version", ["5.2", "6"])
def test_the_matrix_of_the_demos(version, data, tmp_path):
    model = official_model(data, version)
    _, state = model.forward(IDS, State.zeros(model.spec))
    rows = []
    for att_x, kv, ffn_x in zip(*(iter(to_official(state, model.spec)),) * 3, strict=True):
        rows += [ffn_x[None], att_x[None], kv.reshape(model.spec.head_size, -1)]
    torch.save(torch.cat(rows), tmp_path / "demo.pth")
    assert same(load_state(tmp_path / "demo.pth", model.spec), state)


def test_a_state_that_remembers_a_token_is_no_beginning(stood, tmp_path):
    spec, state = stood
    with pytest.raises(CheckpointError, match="no token before it"):
        save_state(state, spec, tmp_path / "s.pth", "time_state")
    assert not list(tmp_path.iterdir())


def name(layer: int) -> str:
    return f"blocks.{layer}.att.time_state"


@pytest.mark.parametrize(
    "content, reason",
    [
        ({name(0): torch.zeros(2, 64, 64)}, "no state of this model"),
        ({name(0): torch.zeros(2, 64, 64), name(1): torch.zeros(1, 64, 64)}, r"'blocks.1.att.time_state' has shape"),
        ({name(0): torch.zeros(2, 64, 64), name(1): torch.full((2, 64, 64), torch.nan)}, "not finite"),
        ({name(i): torch.zeros(2, 64, 64) for i in range(3)}, "no state of this model"),
        ({"blocks.0.att.ts_state": torch.zeros(64)}, "ts_state"),
        ([torch.zeros(128)] * 5, "holds 6 tensors"),
        (torch.zeros(4, 4), "no state of this model"),
        ({"a": object}, "not a whole PyTorch file"),
    ],
)
def test_what_is_no_state_of_the_model_is_told(data, tmp_path, content, reason):
    spec = read_spec(shapes_of(load_weights(data / "engine/v7/model.pth")))
    torch.save(content, tmp_path / "s.pth")
    with pytest.raises(CheckpointError, match=reason) as told:
        load_state(tmp_path / "s.pth", spec)
    assert "\n" not in str(told.value)
