"""Models by name and by path, and configs that say enough."""

import json

import pytest

from rwkv_music import library
from rwkv_music.library import ModelNotFoundError, embedded_models, find_model


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A package with one embedded model, "folk"."""
    folder = tmp_path / "models" / "folk"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text(json.dumps({"name": "folk", "tokenizer": "abc", "sampling": {"top_p": 0.9}}))
    monkeypatch.setattr(library, "EMBEDDED", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return folder


def test_an_embedded_model_is_found_by_its_name(shelf):
    assert embedded_models() == ["folk"]
    files = find_model("folk")
    assert files.weights == shelf / "model.safetensors"
    assert files.config and (files.config.name, files.config.tokenizer) == ("folk", "abc")
    assert files.config.sampling == {"top_p": 0.9}


def test_a_folder_and_its_weights_are_found_by_path(shelf):
    assert find_model(shelf) == find_model(shelf / "model.safetensors") == find_model("folk")


def test_bare_weights_have_no_config(tmp_path):
    path = tmp_path / "RWKV-7.pth"
    path.write_bytes(b"weights")
    assert find_model(path).config is None
    assert find_model(tmp_path).weights == path


def test_a_path_that_exists_goes_before_a_name(shelf, tmp_path):
    (tmp_path / "folk").write_bytes(b"other weights")
    assert find_model("folk").weights.read_bytes() == b"other weights"


def test_a_name_that_nobody_has_is_told_with_those_there_are(shelf):
    for name in ("nobody", "../models/folk/nothing", "fo*"):
        with pytest.raises(ModelNotFoundError, match=r"no model .*a model here \(folk\)"):
            find_model(name)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelNotFoundError, match="a model folder holds model.safetensors"):
        find_model(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"name": "folk"}',
        '{"name": 1, "tokenizer": "abc"}',
        "[" * 5000,
        "\xff",
        '{"name": "a", "tokenizer": "abc", "sampling": [1]}',
    ],
)
def test_a_config_that_says_too_little_is_refused(shelf, text):
    (shelf / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelNotFoundError, match="config.json"):
        find_model("folk")


def test_a_config_of_transformers_says_nothing_about_music(shelf):
    (shelf / "config.json").write_text(json.dumps({"model_type": "rwkv7", "architectures": ["RWKV7ForCausalLM"]}))
    assert find_model("folk").config is None
    assert find_model(shelf / "model.safetensors").config is None


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "pytorch_model.bin", "tunes.st", "tunes.gguf"])
def test_a_folder_may_hold_weights_under_other_names(tmp_path, name):
    (tmp_path / name).write_bytes(b"weights")
    assert find_model(tmp_path).weights == tmp_path / name


def test_a_published_file_under_its_own_name_has_its_tokenizer_and_settings(tmp_path):
    path = tmp_path / "RWKV-5-ABC-82M-v1-20230901-ctx1024.pth"
    path.write_bytes(b"weights")
    for found in (find_model(path), find_model(tmp_path)):
        assert found.weights == path and found.config is not None
        assert (found.config.name, found.config.tokenizer) == ("rwkv-5-abc-82m", "abc")
        assert found.config.sampling == {"temperature": 1.0, "top_k": 0, "top_p": 0.5}


def test_a_model_that_is_not_here_is_told_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="`rwkv-music models pull rwkv-4-midi-560m`"):
        find_model("rwkv-4-midi-560m")
    with pytest.raises(ModelNotFoundError, match="neither a file nor a folder here, nor fetched yet"):
        find_model("runs/two/final.pth")
    with pytest.raises(ModelNotFoundError, match="no model 'runs/final.pth'"):
        find_model("runs/final.pth")
