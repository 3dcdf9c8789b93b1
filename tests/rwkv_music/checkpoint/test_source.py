"""Weights that are read when they are asked for, checked as they are read, and not kept."""

import gc
import weakref

import pytest
import torch

from rwkv_music.checkpoint import mapped
from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.mapped import MappedFile
from rwkv_music.checkpoint.save import save_weights
from rwkv_music.checkpoint.source import CheckpointError, Stored, Weights, is_finite


def counted(value: float, reads: list[str], name: str) -> Stored:
    def read() -> torch.Tensor:
        reads.append(name)
        return torch.full((2, 3), value)

    return Stored((2, 3), torch.float32, read)


def test_only_what_is_asked_for_is_read(tmp_path):
    reads: list[str] = []
    stored = {"good": counted(1.0, reads, "good"), "bad": counted(float("inf"), reads, "bad")}
    weights = Weights(tmp_path / "model.pth", stored, "official", {"made": "here"})
    assert weights.shapes == {"good": (2, 3), "bad": (2, 3)}
    assert len(weights) == 2 and list(weights) == ["good", "bad"]
    assert "bad" in weights and "other" not in weights and weights.get("other") is None
    assert weights.metadata["made"] == "here" and reads == []
    assert weights["good"].sum() == 6 and reads == ["good"]
    with pytest.raises(CheckpointError, match="model.pth: 'bad' holds values that are not finite numbers"):
        list(weights.values())
    with pytest.raises(KeyError):
        weights["other"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_none_is_found_anywhere(dtype, value):
    for place in (0, 7, 4096):
        tensor = torch.randn(4097).to(dtype)
        assert is_finite(tensor)
        tensor[place] = value
        assert not is_finite(tensor) and not is_finite(tensor.reshape(17, 241).T)
    assert is_finite(torch.zeros(0, 4, dtype=dtype))
    assert is_finite(torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).min], dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.float64, torch.complex64])
def test_other_types_are_refused_before_anything_is_read(tmp_path, dtype):
    def read() -> torch.Tensor:
        raise AssertionError("nothing asks for it")

    with pytest.raises(CheckpointError, match="'x' is torch.* expected float32, bfloat16 or float16"):
        Weights(tmp_path / "model.pth", {"x": Stored((1,), dtype, read)}, "official")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_mapped_anew_and_old_pages_go(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(mapped, "WINDOW", 1 << 20)
    tensors = {f"matrix.{number}": torch.full((512, 1024), float(number)) for number in range(4)}
    path = tmp_path / f"model{suffix}"
    torch.save(tensors, path) if suffix == ".pth" else save_weights(tensors, path)
    opened: list[weakref.ref] = []
    whole = MappedFile.__init__

    def watched(self, path, open_tensors, *limits):
        def opening():
            tensor = open_tensors()
            opened.append(weakref.ref(holder := lambda name: tensor(name)))
            return holder

        whole(self, path, opening, *limits)

    monkeypatch.setattr(MappedFile, "__init__", watched)
    weights = load_weights(path)
    for number in range(4):
        assert weights[f"matrix.{number}"][0, 0] == number
    gc.collect()
    assert len(opened) == 4 and [reference() is None for reference in opened] == [True, True, True, False]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_was_read_outlives_its_mapping_and_never_changes_the_file(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(mapped, "WINDOW", 0)
    tensors = {"large": torch.ones(1024, 1024), "small": torch.ones(3), "other": torch.zeros(1024, 1024)}
    path = tmp_path / f"model{suffix}"
    torch.save(tensors, path) if suffix == ".pth" else save_weights(tensors, path)
    weights = load_weights(path)
    large, small = weights["large"], weights["small"]
    assert not weights["other"].any()
    large[0, 0], small[0] = 5, 7
    del weights
    gc.collect()
    assert large.sum() == 1024 * 1024 + 4 and small.sum() == 9
    again = load_weights(path)
    assert again["large"].sum() == 1024 * 1024 and again["small"].sum() == 3


def test_a_file_that_changes_between_two_reads_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "WINDOW", -1)
    path = tmp_path / "model.safetensors"
    save_weights({"a": torch.ones(4), "b": torch.ones(4)}, path)
    weights = load_weights(path)
    save_weights({"a": torch.ones(5), "c": torch.ones(4)}, path)
    with pytest.raises(CheckpointError, match="'a' changed while the file was read"):
        weights["a"]
    with pytest.raises(CheckpointError, match="'b' cannot be read"):
        weights["b"]
