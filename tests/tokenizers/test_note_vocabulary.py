"""What the tokens of notes stand for."""

import numpy as np
import pytest

from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    DRUM,
    FIELD,
    FREE,
    KEY,
    LENGTH_UNITS,
    METER_UNITS,
    METERS,
    NAMES,
    NEAREST_LENGTH,
    NO_KEY,
    PITCH,
    PLACE,
    SIZE,
    TEMPO_MICROSECONDS,
    TEMPOS,
    nearest_tempo,
    transposition,
    word_tokenizer,
)


def test_there_are_896_names_and_none_twice():
    assert SIZE == len(NAMES) == len(set(NAMES)) == 896


def test_the_vocabulary_is_the_one_that_models_were_trained_on():
    assert NoteTokenizer().sha256 == "794a4f31f15a9fd9aba2093971f429f179237a13fe5dfe7129154cebc14e6be4"


@pytest.mark.parametrize(
    ("token", "name"),
    [
        (0, "<pad>"),
        (2, "<eos>"),
        (7, "<grid>"),
        (16, "kind:piano"),
        (32, "bar"),
        (PITCH + 60, "pitch:60"),
        (895, "<free895>"),
    ],
)
def test_tokens_have_their_names(token, name):
    assert NAMES[token] == name


def test_every_token_is_a_place_in_its_field():
    for token in range(BAR, FREE):
        assert NAMES[FIELD[token]].split(":")[0] == NAMES[token].split(":")[0]
    assert np.array_equal(FIELD + PLACE, np.arange(SIZE))


def test_bars_are_at_most_eight_quarters():
    assert len(METERS) == len(set(METERS)) == 64
    assert METER_UNITS.max() == 192
    assert METER_UNITS[METERS.index((6, 8))] == 72


def test_every_length_is_nearest_to_itself_and_ties_are_short():
    assert len(LENGTH_UNITS) == 80
    assert (LENGTH_UNITS[NEAREST_LENGTH[LENGTH_UNITS]] == LENGTH_UNITS).all()
    assert LENGTH_UNITS[NEAREST_LENGTH[[50, 51, 624, 625]]].tolist() == [48, 52, 576, 672]
    assert NEAREST_LENGTH[0] == 0


def test_tempos_are_a_metronome_s():
    assert len(TEMPOS) == 64
    assert [nearest_tempo(tempo) for tempo in TEMPO_MICROSECONDS.tolist()] == list(range(64))
    told = [500_000, 0, 10**9, 60_000_000 // 122]
    assert [TEMPOS[nearest_tempo(tempo)] for tempo in told] == [120, 320, 20, 120]


def test_transposition_moves_pitches_and_turns_keys_but_not_drums():
    up = transposition(2)
    moves = {"pitch:60": "pitch:62", "key:C": "key:D", "key:Am": "key:Bm", "key:F#": "key:Ab", "drum:36": "drum:36"}
    assert {name: NAMES[up[NAMES.index(name)]] for name in moves} == moves
    assert NAMES[up[NO_KEY]] == "key:none"
    assert up[PITCH + 126] == 0


@pytest.mark.parametrize("semitones", range(-12, 13))
def test_a_key_turns_with_its_tonic(semitones):
    tonic = np.array([7 * fifths % 12 for fifths in range(-7, 8)])
    places = transposition(semitones)[KEY:NO_KEY].astype(int) - KEY
    assert (tonic[places[:15]] == (tonic + semitones) % 12).all()
    assert (places[15:] == places[:15] + 15).all()


def test_an_octave_keeps_the_key():
    assert (transposition(-12)[KEY : NO_KEY + 1] == np.arange(KEY, NO_KEY + 1)).all()
    assert (transposition(5)[DRUM : DRUM + 128] == np.arange(DRUM, DRUM + 128)).all()


def test_the_library_s_tokenizer_knows_every_name():
    assert word_tokenizer().encode(" ".join(NAMES)).ids == list(range(SIZE))
