"""Bits a token, a note and a second, counted on cases whose answer is known; and a run on MIDI that stops and goes on."""

import numpy as np
import pytest
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.note_grammar import NoteGrammar
from rwkv_music_tokenizers.note_vocabulary import BOS, EOS
from rwkv_music_training.checkpoints import load_checkpoint
from rwkv_music_training.config import ConfigError, config_from_json
from rwkv_music_training.judging.order import in_order
from rwkv_music_training.lessons import NotesLesson, note_prompt
from rwkv_music_training.note_batches import NoteBatches
from rwkv_music_training.note_corpus import note_corpus
from rwkv_music_training.samples import sample_ids
from rwkv_music_training.train import main, newest, read_recipe


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def model(head: float):
    """A new model whose logits are scaled by `head`: 0 makes every id as likely as every other."""
    weights = initial_weights(new_spec(2, 64, 896), torch.Generator().manual_seed(0))
    weights["head.weight"] = head * weights["head.weight"]
    return build_model(new_spec(2, 64, 896), weights, choose_kernels("cpu"))


@pytest.fixture
def recipe(tmp_path, notes_config):
    path = tmp_path / "recipe.json"
    path.write_text(notes_config.but(sample_prompts=("<grid> kind:piano",)).to_json())
    return path


def test_a_run_on_midi_goes_on_exactly_where_it_stopped(midi_folder, cache, tmp_path, recipe):
    shared = ["--data", str(midi_folder), "--cache", str(cache)]
    assert main([str(recipe), *shared, "--out", str(tmp_path / "whole")]) == 0
    assert main([str(recipe), *shared, "--out", str(tmp_path / "cut"), "--steps", "2"]) == 0
    assert main([str(recipe), *shared, "--out", str(tmp_path / "cut"), "--resume", "--steps", "6"]) == 0
    whole, cut = (load_checkpoint(newest(tmp_path / name)) for name in ("whole", "cut"))
    assert cut.progress.step == whole.progress.step == 6 and cut.progress.tokens == whole.progress.tokens
    (sample,) = (tmp_path / "whole" / "samples").glob("step-0000006-1.mid")
    read_midi(sample.read_bytes())


def test_the_recipes_are_configs():
    assert read_recipe("abc-folk").tokenizer == "abc"
    score = read_recipe("midi-score")
    assert score.tokenizer == "notes" and score.vocabulary == 896
    assert all(note_prompt(text) for text in score.sample_prompts)


def test_a_prompt_of_unknown_words_is_refused():
    with pytest.raises(ConfigError, match="sample_prompts: 'pitch:200' is no token"):
        note_prompt("<grid> pitch:200")


def test_what_is_missing_is_one_line(tmp_path, recipe, capsys):
    assert main([str(recipe), "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}")
    assert main(["no-recipe", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert "no-recipe: cannot be read" in capsys.readouterr().err


def test_readings_of_a_lesson_are_the_same_every_time(midi_folder, cache, notes_config):
    train, valid = (note_corpus(midi_folder, split, cache, notes_config) for split in ("train", "valid"))
    lesson = NotesLesson(NoteBatches(train, notes_config), valid, notes_config)
    judge = model(3.0)
    assert lesson.read(judge) == lesson.read(judge)
    assert config_from_json(notes_config.to_json()) == notes_config


def test_a_grammar_holds_what_is_written():
    grammar = NoteGrammar([BOS])
    for ids in sample_ids(model(3.0), 3, [BOS], EOS, max_length=200, grammar=grammar):
        assert in_order(np.array([BOS, *ids, *[EOS][len(ids) == 200 :]], dtype=np.uint16))
    assert np.array_equal(grammar.allowed(), NoteGrammar([BOS]).allowed())
