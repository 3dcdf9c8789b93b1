"""The mean of models is the mean of their weights, and one of a single model is that model."""

import pytest
import torch
from safetensors.torch import save_file

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.cli import main
from rwkv_music.model.invented import RandomWeights, standard_spec

SPEC = standard_spec("7", 2, 64, 40, head_size=32)


@pytest.fixture
def models(tmp_path):
    """Two models of one shape, a third of another."""
    specs = {"a": (SPEC, 1), "b": (SPEC, 2), "wider": (standard_spec("7", 2, 96, 40, head_size=32), 3)}
    for name, (spec, seed) in specs.items():
        weights = RandomWeights(spec, seed=seed)
        save_file({key: weights[key].contiguous() for key in weights}, tmp_path / f"{name}.safetensors")
    return {name: str(tmp_path / f"{name}.safetensors") for name in specs}


@pytest.mark.parametrize("out", ["mixed.safetensors", "mixed.pth"])
def test_a_mix_is_the_mean_by_shares(models, tmp_path, out):
    path = tmp_path / out
    assert main(["models", "mix", models["a"] + ":3", models["b"], "-o", str(path), "--type", "f32"]) == 0
    a, b, found = load_weights(tmp_path / "a.safetensors"), load_weights(tmp_path / "b.safetensors"), load_weights(path)
    assert set(found) == set(a)
    for name in a:
        torch.testing.assert_close(found[name], 0.75 * a[name] + 0.25 * b[name].reshape(a[name].shape))


def test_softening_divides_the_logits_and_changes_nothing_else(models, tmp_path):
    path = tmp_path / "soft.safetensors"
    assert main(["models", "mix", models["a"], "-o", str(path), "--type", "f32", "--soften", "1.25"]) == 0
    a, found = load_weights(tmp_path / "a.safetensors"), load_weights(path)
    for name in a:
        torch.testing.assert_close(found[name], a[name] / (1.25 if name == "head.weight" else 1))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "wider"], "wider.safetensors: its tensors have other names or shapes than those of"),
        (["a:0", "b"], "a.safetensors: the share of a model is a number above 0, not 0"),
        (["a:nan", "b"], "the share of a model is a number above 0, not nan"),
        (["a", "--soften", "0"], "logits are divided by a number above 0, not 0"),
    ],
)
def test_what_cannot_be_mixed_is_told_in_one_line_and_nothing_is_written(models, tmp_path, capsys, words, told):
    before = set(tmp_path.iterdir())
    named = [models[word[0]] + word[1:] if word[:1] in ("a", "b") else models.get(word, word) for word in words]
    assert main(["models", "mix", *named, "-o", str(tmp_path / "out.safetensors")]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_nothing_is_overwritten_unasked(models, tmp_path, capsys):
    words = ["models", "mix", models["a"], models["b"], "-o", models["wider"]]
    before = (tmp_path / "wider.safetensors").read_bytes()
    assert main(words) == 1 and "--force" in capsys.readouterr().err
    assert (tmp_path / "wider.safetensors").read_bytes() == before
    assert main([*words, "--force"]) == 0
