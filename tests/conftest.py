"""What all tests share: the data folder, tiny models, and the marker of tests that need a GPU."""

import gc
from pathlib import Path

import pytest
import torch

from rwkv_music import library
from rwkv_music.checkpoint.load import save_weights
from rwkv_music.model.initial import initial_weights, new_spec

DATA = Path(__file__).parent / "data"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")


@pytest.fixture(autouse=True, scope="module")
def no_old_objects() -> None:
    """What tests before these have left is not looked through again and again: limits of time are those of a program."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_tuned(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person at this machine has tuned is not seen."""
    monkeypatch.setattr(library, "user_models_folder", lambda: tmp_path_factory.getbasetemp() / "tuned")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of fixtures."""
    return DATA


def random_weights(layers: int = 2, width: int = 64, vocabulary: int = 128, seed: int = 0) -> dict[str, torch.Tensor]:
    """RWKV-7 weights in which every tensor does something: the official start, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    weights = initial_weights(new_spec(layers, width, vocabulary), generator)
    return {name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of two layers and 64 channels with random values."""
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_weights(random_weights(), path)
    return path
