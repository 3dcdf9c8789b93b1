"""The recipes of the published MIDI models are what their programs do to logits, and ours lets keys come up."""

import json
from dataclasses import fields
from importlib.resources import files

import numpy as np
import pytest

from rwkv_music.filters import adjust, repeated
from rwkv_music.sampling import Recipe, Sampler, SamplingOptions
from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.midi_recipe import MidiRecipe, midi_recipe
from rwkv_music_tokenizers.midi_word_grammar import MidiWordGrammar
from rwkv_music_tokenizers.midi_words import FIRST_NOTE, MIDI, MIDI_PIANO

PUBLISHED = json.loads((files("rwkv_music") / "models" / "published.json").read_text())
SAMPLING = PUBLISHED["rwkv-4-midi-120m"]["sampling"]


def sampler(recipe: MidiRecipe) -> Sampler:
    options = SamplingOptions(recipe=Recipe(**{field.name: getattr(recipe, field.name) for field in fields(Recipe)}))
    return Sampler(options, weights=recipe.weights)


def chatrwkv(logits: np.ndarray, tokens: list[int]) -> np.ndarray:
    """The logits after these tokens as ChatRWKV changes them."""
    logits, counts = logits.astype(np.float64), {}
    for token in tokens:
        counts = {seen: 0.997 * count for seen, count in counts.items()}
        counts[token] = counts.get(token, 0) + (1.0 if token >= 128 or token == 127 else 0.3)
    for token, count in counts.items():
        logits[token] -= 0.5 * count
    logits[0] += (len(tokens) - 2000) / 500
    logits[127] -= 1
    return logits


def test_the_published_recipe_is_what_chatrwkv_does():
    logits = np.random.default_rng(0).normal(size=MIDI.vocabulary_size).astype(np.float32)
    tokens = MIDI.encode("pi:3c:7 t10 pi:3c:0 t125 t10 pi:3c:7 p:24:b t125 pi:3c:0 p:24:0 t1")
    drawn = sampler(midi_recipe(MIDI, SAMPLING, releases=True))
    for token in tokens:
        drawn.follow(token)
    recipe = drawn.options.recipe
    assert recipe
    biases = [(recipe.end, (drawn.step - recipe.end_from) / recipe.end_every), *recipe.biases]
    ours = adjust(logits, drawn.counts, recipe.penalty, *map(np.array, zip(*biases, strict=True)))
    assert ours == pytest.approx(chatrwkv(logits, tokens), abs=1e-12)


def test_our_recipe_lets_keys_come_up():
    recipe = midi_recipe(MIDI, SAMPLING)
    weights = dict(zip(MIDI.words, recipe.weights.tolist(), strict=True))
    assert {weights[word] for word in MIDI.words[FIRST_NOTE:] if word.endswith(":0")} == {0.0}
    assert {weights[word] for word in MIDI.words[FIRST_NOTE:] if not word.endswith(":0")} == {1.0}
    assert (weights["t125"], weights["t124"], weights["<end>"]) == (1.0, 0.3, 0.3)


def test_a_model_without_such_fields_has_no_penalty():
    recipe = midi_recipe(MIDI_PIANO, {"temperature": 0.5})
    assert (recipe.penalty, recipe.repetition, recipe.end_every, recipe.biases, recipe.end) == (0.0, 1.0, 0.0, (), 2)


def streamed(logits: np.ndarray, tokens: list[int]) -> np.ndarray:
    """The logits after these tokens as MIDI-LLM-tokenizer's streaming scripts change them: told from their formula."""
    counts = np.zeros(logits.size)
    for age, token in enumerate(reversed(tokens[-256:])):
        counts[token] += 0.99**age
    counts[: MIDI_PIANO.words.index("t125") + 1] = 0
    factors = np.where(logits < 0, 1.1, 1 / 1.1) ** counts
    changed = logits * factors.clip(1 / 1.5, 1.5)
    changed[0] -= 1e10
    return changed


def test_the_recipe_of_the_piano_model_is_what_its_scripts_do():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=MIDI_PIANO.vocabulary_size).astype(np.float32)
    # Few notes many times, so that some reach the most that the penalty comes to.
    tokens = [int(token) for token in rng.choice([5, 127, 200, 201, 208, 209, 500], 400)]
    drawn = sampler(midi_recipe(MIDI_PIANO, PUBLISHED["midi-piano"]["sampling"], releases=True))
    for token in tokens:
        drawn.follow(token)
    recipe = drawn.options.recipe
    assert recipe
    ours = repeated(logits, drawn.counts, recipe.repetition, recipe.repetition_most)
    ours = adjust(ours, drawn.counts, recipe.penalty, *map(np.array, zip(*recipe.biases, strict=True)))
    assert ours == pytest.approx(streamed(logits.astype(np.float64), tokens), abs=1e-12)


def test_weights_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        midi_recipe(MIDI, SAMPLING).weights[0] = 1


def test_the_piano_alone_is_what_chatrwkv_leaves_of_the_notes():
    alone = MidiWordGrammar(MIDI, Limits(programs=frozenset({0}), drums=False))
    barred = np.zeros(MIDI.vocabulary_size, bool)
    barred[128:12416] = barred[13952:20096] = True
    everyone = MidiWordGrammar(MIDI).allowed()
    assert (alone.allowed() == (everyone & ~barred)).all()


def test_every_published_midi_model_has_a_recipe():
    vocabularies = {"midi": MIDI, "midipiano": MIDI_PIANO}
    for model in PUBLISHED.values():
        words = vocabularies.get(model["tokenizer"])
        if words:
            assert words.vocabulary_size == model["vocabulary"]
            separators = {"pad": words.pad, "begin": words.bos, "end": words.eos}
            assert separators == model["separators"]
            assert sampler(midi_recipe(words, model["sampling"])).options.recipe
