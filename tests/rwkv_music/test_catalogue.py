"""The published models, as data: whole, consistent, and silent about what is not known."""

import re

import pytest

from rwkv_music.catalogue import published_file, published_models
from rwkv_music.hub import HubError, hub_file
from rwkv_music.library import SETTINGS
from rwkv_music.sampling import SamplingOptions

SIZES = {"abc": 128, "midi": 20096, "midipiano": 2176, "mmm": 16000}
MODELS = published_models().values()


def test_every_published_music_model_has_a_short_name():
    assert set(published_models()) >= {
        "rwkv-4-abc-82m",
        "rwkv-4-midi-120m",
        "rwkv-4-midi-560m",
        "rwkv-5-abc-82m",
        "rwkv-5-midi-120m",
        "rwkv-5-midi-560m",
        "midi-rwkv",
    }


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_says_what_is_needed_to_use_it(model):
    assert model.version in ("4", "5.0", "5.1", "5.2", "6", "7")
    assert model.vocabulary == SIZES[model.tokenizer]
    assert (model.layers is None) == (model.width is None)
    assert model.sha256 is None or re.fullmatch("[0-9a-f]{64}", model.sha256)
    SamplingOptions(**{name: value for name, value in model.sampling.items() if name in SETTINGS})
    if model.separators is not None:
        assert all(0 <= token < model.vocabulary for token in model.separators.values())
    assert published_file(model.file) is model


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_is_on_the_hub_or_says_where_it_is(model):
    if model.repo is None:
        with pytest.raises(HubError, match=f"on no hub .*{re.escape(model.file)}, and name its path"):
            hub_file(model.name)
        return
    wanted = hub_file(model.name)
    assert wanted is not None
    assert (wanted.repo, wanted.file, wanted.revision) == (model.repo, model.file, model.revision)
    assert wanted.sha256 == model.sha256
    assert hub_file(f"{model.repo}/{model.file}") is not None


def test_bytes_fit_the_dimensions_of_what_can_be_counted():
    # RWKV-4 in bfloat16: 13 C^2 + 11 C a layer with four times as many hidden channels, and two matrices of V x C.
    for model in MODELS:
        if model.version == "4" and model.bytes and model.layers and model.width:
            count = model.layers * (13 * model.width**2 + 11 * model.width) + 2 * model.vocabulary * model.width
            assert 0 < model.bytes - 2 * count < 0.01 * model.bytes


def test_the_list_cannot_be_changed_by_who_reads_it():
    with pytest.raises(TypeError):
        published_models()["midi-rwkv"].sampling["top_p"] = 1.0  # pyright: ignore[reportIndexIssue]
    assert published_file("RWKV-7.pth") is None
