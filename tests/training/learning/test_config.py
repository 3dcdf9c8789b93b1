"""A configuration is YAML with known fields; every mistake is told in one line with its place."""

import pytest

from rwkv_music_training.learning.config import ConfigError, TrainingConfig
from rwkv_music_training.learning.recipe import config_of, read_recipe, recipes, text_of


def test_what_is_left_out_keeps_its_default():
    config = config_of("name: mine\nshape: {version: 5.2, layers: 3}\nschedule: {shape: wsd}\n")
    assert config.shape.version == "5.2" and config.shape.layers == 3 and config.shape.width == 192
    assert config.schedule.shape == "wsd" and config.seed == 1


def test_a_written_config_comes_back():
    config = TrainingConfig().but(name="ä", data={"window": 512, "corpus": "x"}, habits={"track": ("wandb",)})
    assert config_of(text_of(config)) == config


@pytest.mark.parametrize(
    "text, said",
    [
        ("optimiser: {learningrate: 1}", "here: optimiser.learningrate: is not a known field"),
        ("optimiser: {learning_rate: -1}", "here: optimiser.learning_rate: must be greater than 0, not -1"),
        ("shape: {version: 8}", "here: shape.version: must be '4', '5.0', '5.1', '5.2', '6' or '7', not '8'"),
        ("shape: {width: 100}", "here: shape: width must be a multiple of head_size (64), not 100"),
        ("method: {name: lora}", "here: the method lora needs a model to begin with: say its name as base"),
        (
            "{base: abc-folk, method: {name: state}, machine: {spread: fsdp}}",
            "here: the method state is small and whole on each process: machine.spread must be auto or ddp",
        ),
        ("data: {carry: true, tokens_per_step: 1000}", "here: with carry, tokens_per_step must be a multiple of"),
        (
            "{base: abc-folk, method: {name: lora, parts: [att.]}}",
            "here: method.parts are for the method full, not lora",
        ),
        (
            "data: {carry: true, augment: {repeated: 0.5}}",
            "here: data.augment.repeated reads whole documents: data.carry must be false",
        ),
        ("- 1", "here: must hold fields with values"),
        ("a: [", "here: not YAML (while parsing"),
        ("optimiser: {clip: .nan}", "here: optimiser.clip: must be a finite number, not nan"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field(text, said):
    with pytest.raises(ConfigError) as error:
        config_of(text, "here")
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_a_recipe_that_is_no_file_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r"nothing\.yaml: no such file, and no recipe of that name \(there are "):
        read_recipe("nothing.yaml")


def test_every_recipe_can_be_read():
    assert {"abc-folk", "midi-score"} <= set(recipes())
    for name in recipes():
        assert read_recipe(name).name
