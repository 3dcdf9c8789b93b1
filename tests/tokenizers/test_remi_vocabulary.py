"""REMI's words follow from rules: they are those of the published vocabulary, by id, and lengths are what they say."""

import json
from pathlib import Path

import pytest

from rwkv_music_tokenizers.remi_vocabulary import CHORDS, DURATION, DURATIONS, SIZE, WORDS, remi_ids, remi_text

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "tokens" / "remi.json").read_text())


def test_the_words_are_the_published_ones():
    assert list(WORDS) == GOLDEN["vocab"]
    assert len(WORDS) == SIZE == 427


def test_a_length_has_the_positions_that_its_word_says():
    for units, word in zip(DURATIONS.tolist(), WORDS[DURATION:], strict=False):
        quarters, parts, of = map(int, word.removeprefix("Duration_").split("."))
        assert units * of == 8 * (quarters * of + parts)


def test_chords_are_those_that_miditok_knows():
    constants = pytest.importorskip("miditok.constants", reason="pip install 'rwkv-music[miditok]'")
    assert list(CHORDS.items()) == list(constants.CHORD_MAPS.items())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_ids_and_text_are_the_same_piece(case):
    assert remi_text(case["ids"]) == case["tokens"]
    assert remi_ids(case["tokens"]) == case["ids"]


def test_what_is_no_word_is_refused():
    with pytest.raises(ValueError, match="'Pitch_20' is no word of REMI"):
        remi_ids("Bar_None Pitch_20")
