"""`models` on the command line: what there is, what a file is, and one form made into another."""

import json

import pytest
import torch
from safetensors.torch import save_file

from rwkv_music.catalogue import published_models
from rwkv_music.checkpoint.load import load_weights
from rwkv_music.cli import main
from rwkv_music.model.versions import read_spec, tidy


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


def test_the_list_names_every_model_with_size_licence_and_place(capsys):
    assert main(["models", "list"]) == 0
    told = capsys.readouterr().out.splitlines()
    lines = {line.split()[0]: line for line in told if not line.startswith(" ")}
    assert set(lines) == {"abc-folk", "midi-score", *published_models()}
    # The styles of a model stand below it.
    below = told.index(lines["abc-folk"]) + 1
    assert [line.split() for line in told[below : below + 2]] == [["+", "lead-sheet"], ["+", "mazurka"]]
    assert "embedded" in lines["abc-folk"] and "the default" in lines["abc-folk"]
    for part in ("156.6 MiB", "Apache-2.0", "on the hub", "RWKV-5.1", "abc"):
        assert part in lines["rwkv-5-abc-82m"]
    for part in ("elsewhere", "licence ?"):
        assert part in lines["midi-rwkv"]


def test_the_list_tells_everything_as_json(capsys):
    assert main(["models", "list", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)
    assert (models["abc-folk"]["place"], models["abc-folk"]["licence"]) == ("embedded", "Apache-2.0")
    assert models["rwkv-4-midi-120m"] == {"place": "on the hub", **published_models()["rwkv-4-midi-120m"].plain()}


def test_show_tells_what_is_published_about_a_model_that_is_not_here(capsys):
    assert main(["models", "show", "midi-rwkv"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "https://github.com/christianazinn/MIDI-RWKV"


def test_show_reads_bare_weights(tiny_model, tmp_path, capsys):
    path = tmp_path / "bare.safetensors"
    path.write_bytes(tiny_model.read_bytes())
    assert main(["models", "show", str(path)]) == 0
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    spec = read_spec(load_weights(path).shapes)
    assert told["version"] == "RWKV-7" and told["layout"] == "official"
    for name in ("layers", "width", "vocabulary", "decay_rank"):
        assert f"{name} {getattr(spec, name)}" in told["dimensions"]
    tensors = load_weights(path)
    assert told["parameters"] == f"{sum(tensor.numel() for tensor in tidy(tensors, spec).values()):,}"
    assert f"({path.stat().st_size:,} bytes)" in told["weights"]
    assert told["tokenizer"].startswith("perhaps abc")


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({f"blocks.{layer}.att.time_state": (3, 8, 8) for layer in range(2)}, "tuned state for a model of 2 layers, 3"),
        ({"blocks.0.att.key.lora_A": (4, 24), "blocks.0.att.key.lora_B": (24, 4)}, "adapter (LoRA, PiSSA or DiSHA)"),
        (
            {"time_shift": (2, 1, 24), "channel_shift": (2, 1, 24), "wkv": (2, 1, 3, 8, 8)},
            "the state of a piece in a model of 2 layers",
        ),
    ],
)
def test_show_says_what_a_part_of_a_model_is(tensors, told, tmp_path, capsys):
    path = tmp_path / "part.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    assert main(["models", "show", str(path)]) == 0
    assert told in capsys.readouterr().out


def test_show_refuses_what_is_no_model(tmp_path, capsys):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert main(["models", "show", str(path)]) == 1
    out, error = capsys.readouterr()
    assert out == "" and "emb.weight" in error and error.count("\n") == 1


def test_converting_goes_by_the_suffix_and_overwrites_nothing(tiny_model, tmp_path, capsys):
    for name in ("one.pth", "two.safetensors", "three.gguf", "four"):
        assert main(["models", "convert", str(tiny_model), str(tmp_path / name)]) == 0
        assert read_spec(load_weights(tmp_path / name).shapes) == read_spec(load_weights(tiny_model).shapes)
    assert main(["models", "show", str(tmp_path / "four")]) == 0
    before = (tmp_path / "one.pth").read_bytes()
    capsys.readouterr()
    assert main(["models", "convert", str(tiny_model), str(tmp_path / "one.pth")]) == 1
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "one.pth").read_bytes() == before
    assert main(["models", "convert", str(tiny_model), str(tmp_path / "one.pth"), "--force"]) == 0


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_converting_changes_the_type(tiny_model, tmp_path, kind):
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[kind]
    for name in ("one.pth", "two.safetensors", "three"):
        assert main(["models", "convert", str(tiny_model), str(tmp_path / name), "--type", kind]) == 0
        made, source = load_weights(tmp_path / name), load_weights(tiny_model)
        for key in ("emb.weight", "blocks.1.att.r_k", "blocks.0.ffn.key.weight"):
            assert made[key].dtype == dtype
            assert torch.equal(made[key].reshape(-1), source[key].to(dtype).reshape(-1))


def test_values_too_large_for_a_type_are_refused_and_nothing_is_written(tiny_model, tmp_path, capsys):
    tensors = dict(load_weights(tiny_model))
    tensors["emb.weight"] = torch.full_like(tensors["emb.weight"], 1e6)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "large.safetensors")
    before = set(tmp_path.iterdir())
    for name in ("out.pth", "out.safetensors", "out"):
        words = ["models", "convert", str(tmp_path / "large.safetensors"), str(tmp_path / name), "--type", "f16"]
        assert main(words) == 1
        assert "'emb.weight' holds values that are too large for" in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("x.onnx", [], "models are written as .pth, .safetensors, .gguf, or a folder"),
        ("x.pth", ["--layout", "fla"], "the layout fla needs a name that ends in"),
        ("x.gguf", ["--layout", "safetensors"], "the layout safetensors needs a name that ends in .safetensors"),
        ("x.pth", ["--type", "q8_0"], "only .gguf holds q8_0"),
    ],
)
def test_forms_that_cannot_be_are_told_in_one_line(tiny_model, tmp_path, capsys, name, options, told):
    assert main(["models", "convert", str(tiny_model), str(tmp_path / name), *options]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (tmp_path / name).exists()


def test_the_layout_of_a_single_file_can_be_chosen(tiny_model, tmp_path):
    path = tmp_path / "alone.safetensors"
    assert main(["models", "convert", str(tiny_model), str(path), "--layout", "fla"]) == 0
    assert load_weights(path).layout == "fla-rwkv7"
