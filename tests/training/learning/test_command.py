"""`rwkv-music train`: what it reads its choices from, and what it says of mistakes."""

import argparse
from pathlib import Path

import pytest

from rwkv_music.errors import UserError
from rwkv_music_training.learning import command
from rwkv_music_training.learning.command import chosen, layout_of, look_for_rate, run, train
from rwkv_music_training.learning.config import ConfigError
from rwkv_music_training.learning.options import add_arguments


def words(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(given)


def test_a_recipe_can_be_changed_field_by_field():
    config, folder = chosen(words("abc-folk", "--set", "schedule.steps=7", "--set", "name=mine", "--corpus", "music"))
    assert (config.schedule.steps, config.data.corpus, config.shape.width) == (7, "music", 192)
    assert folder == Path("runs/mine")
    assert layout_of(config).accelerator == "auto"


@pytest.mark.parametrize(
    "change, said",
    [
        ("schedule.steps", "must be a field and its value, as schedule.steps=100"),
        ("no.such=1", "must be a field and its value"),
        ("schedule.steps=0", "schedule.steps: must be greater than or equal to 1, not 0"),
        ("schedule.steps=[", "the value is not YAML"),
    ],
)
def test_a_change_that_cannot_be_is_told(change, said):
    with pytest.raises(ConfigError, match=said):
        chosen(words("abc-folk", "--set", change))


def test_a_run_without_music_is_told():
    with pytest.raises(ConfigError, match=r"data\.corpus: say which corpus to learn"):
        run(words("abc-folk"))


def test_a_run_goes_on_where_it_was_and_is_never_begun_anew_over_another(tiny, lesson, tmp_path, alone, monkeypatch):
    monkeypatch.setattr(command, "watchers_of", lambda config: [])
    first = train(tiny.but(schedule={"steps": 3}), lesson, tmp_path, alone)
    again = train(tiny, lesson, tmp_path, alone, resume=True)
    assert (first.progress.step, again.progress.step) == (3, 6)
    config, folder = chosen(words(str(tmp_path)))
    assert folder == tmp_path and config == tiny
    with pytest.raises(UserError, match="already holds a run: add --resume"):
        run(words(str(tmp_path), "--corpus", "music"))
    for manifest in (tmp_path / "checkpoints").glob("*/manifest.json"):
        manifest.write_text("{")
    with pytest.raises(UserError, match="no whole checkpoint to go on from"):
        train(tiny, lesson, tmp_path, alone, resume=True)


def test_a_range_test_leaves_its_curve(tiny, lesson, tmp_path, alone, capsys):
    look_for_rate(tiny.but(optimiser={"dropout": 0.0}), lesson, tmp_path, alone, steps=8)
    rows = (tmp_path / "rates.csv").read_text().splitlines()
    assert rows[0] == "rate,loss" and 2 <= len(rows) <= 9
    assert "so try " in capsys.readouterr().err
