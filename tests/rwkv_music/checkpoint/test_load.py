"""Weights files from strangers: read whole or refused in one line, and never executed."""

import pickle
import random
import zipfile

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.checkpoint.load import CheckpointError, load_weights, save_weights
from rwkv_music.engine import Engine


@pytest.fixture(scope="module")
def tensors(tiny_model):
    return load_file(tiny_model)


def test_both_formats_hold_the_same_tensors(tensors, tmp_path):
    torch.save(tensors, tmp_path / "model.pth")
    save_weights(tensors, tmp_path / "model.safetensors")
    for name in ("model.pth", "model.safetensors"):
        read = load_weights(tmp_path / name)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize(
    "wrap", [lambda t: {"state_dict": t}, lambda t: {f"_forward_module.{k}": v for k, v in t.items()}]
)
def test_wrapped_and_prefixed_dictionaries_are_opened(tensors, tmp_path, wrap):
    torch.save(wrap(tensors), tmp_path / "wrapped.pth")
    assert load_weights(tmp_path / "wrapped.pth").keys() == tensors.keys()


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_a_pickle_bomb_does_not_go_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"emb.weight": Bomb()}, tmp_path / "bomb.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pth", "plain.pth"):
        with pytest.raises(CheckpointError):
            load_weights(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointError, match="unpacks to more"):
        load_weights(tmp_path / "bomb.pth")


def test_values_that_are_no_numbers_are_refused(tensors, tmp_path):
    broken = tensors | {"ln_out.bias": torch.full_like(tensors["ln_out.bias"], torch.nan)}
    save_weights(broken, tmp_path / "nan.safetensors")
    weights = load_weights(tmp_path / "nan.safetensors")
    assert weights["ln_out.weight"].isfinite().all()
    with pytest.raises(CheckpointError, match=r"nan.safetensors: 'ln_out.bias' holds values that are not finite"):
        dict(weights)


def test_other_suffixes_and_other_contents_are_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(CheckpointError, match="weights are read from"):
        load_weights(tmp_path / "model.onnx")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no named tensors"):
        load_weights(tmp_path / "list.pth")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "none.safetensors")


def mutations(whole: bytes, count: int, seed: int) -> list[bytes]:
    """Damaged copies: cut off, bytes flipped, stretches removed, doubled or zeroed; mostly near the headers."""
    chance = random.Random(seed)
    damaged = []
    for number in range(count):
        content = bytearray(whole)
        start = chance.randrange(min(len(content), 4096)) if number % 2 else len(content) - chance.randrange(1, 4096)
        match number % 5:
            case 0:
                content = content[:start]
            case 1:
                for _ in range(chance.randrange(1, 20)):
                    content[(start + chance.randrange(200)) % len(content)] = chance.randrange(256)
            case 2:
                del content[start : start + chance.randrange(1, 500)]
            case 3:
                content[start:start] = content[start : start + 100]
            case 4:
                content[start : start + 64] = bytes(64)
        damaged.append(bytes(content))
    return damaged


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused_or_still_a_model(tensors, tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    torch.save(tensors, whole) if suffix == ".pth" else save_weights(tensors, whole)
    refused = 0
    for content in mutations(whole.read_bytes(), 60, seed=7):
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(content)
        try:
            Engine.open(path)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20
