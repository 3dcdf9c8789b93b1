"""The words of the MIDI models have the published ids, levels of loudness and instruments; other words are refused."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_words import FIRST_NOTE, MIDI, MIDI_PIANO, MIDI_V2, MidiWords
from rwkv_music_tokenizers.midi_words_file import published_tokenizer, recognise

TOKENS = Path(__file__).parents[1] / "data" / "tokens"
TABLES = json.loads((TOKENS / "midi_tables.json").read_text())
IDS = json.loads((TOKENS / "midi_ids.json").read_text())
BY_TABLE = {"midi": MIDI, "piano": MIDI_PIANO, "v2wip": MIDI_V2}
EVERY = pytest.mark.parametrize("words", [MIDI, MIDI_PIANO, MIDI_V2], ids=lambda words: words.name)
EVERY_TABLE = pytest.mark.parametrize("name", BY_TABLE)


@EVERY_TABLE
def test_the_words_stand_in_the_published_order(name):
    words, table = BY_TABLE[name], TABLES[name]
    assert words.vocabulary_size == len(words.words) == table["vocab_size"]
    assert hashlib.sha256("\n".join(words.words).encode()).hexdigest() == table["vocab_sha256_newline_joined"]


@EVERY_TABLE
def test_a_velocity_falls_into_the_published_level(name):
    words, table = BY_TABLE[name], TABLES[name]
    assert [words.level(velocity) for velocity in range(128)] == table["velocity_to_bin_int"]
    quarters = table["velocity_to_bin_quarter_steps"]
    assert [words.level(step / 4) for step in range(len(quarters))] == quarters
    assert list(words.velocities) == table["bin_to_velocity"]


@EVERY
def test_a_level_is_played_as_loud_as_it_was_heard(words):
    assert [words.level(velocity) for velocity in words.velocities] == list(range(words.levels))
    assert words.level(-5) == 0
    assert words.level(300) == words.levels - 1


@EVERY_TABLE
def test_programs_gather_into_the_published_instruments(name):
    words, table = BY_TABLE[name], TABLES[name]
    assert list(words.by_program) == table["program_to_bin"]
    assert [row.name for row in words.instruments] == table["bins"]
    assert [row.short for row in words.instruments] == table["short_names"]
    assert [row.program for row in words.instruments] == table["bin_program"]
    assert {row.name: row.channel for row in words.instruments} == table["bin_channel"]


@EVERY
def test_an_instrument_plays_a_program_of_its_own(words):
    # The drum kit has none.
    assert all(row.drums or row.program in row.programs for row in words.instruments)


@pytest.mark.parametrize("case", IDS, ids=lambda case: f"{case['vocab']} {case['text']!r}")
def test_the_tokenizer_of_the_vocabulary_is_the_published_one(case):
    words = BY_TABLE[case["vocab"]]
    tokenizer = published_tokenizer(words)
    ids = tokenizer.encode(case["text"]).ids
    assert ids == case["ids"]
    assert tokenizer.decode(ids) == words.decode(ids) == case["decoded"]
    assert words.decode(ids, specials=True) == case["decoded_keep_special"]
    if 0 not in ids or case["text"] == "<pad>":
        assert words.encode(case["text"]) == ids
    else:
        with pytest.raises(NotationError, match="is no word of"):
            words.encode(case["text"])


def test_a_word_that_is_none_is_named_with_its_place():
    with pytest.raises(NotationError, match=r"line 2, column 5: 't126' is no word of midi: words are t1 to t125"):
        MIDI.encode("pi:3c:7\nt10 t126")
    with pytest.raises(NotationError, match=r"^line 1, column 1: 'pi:3c:7' is no word of midipiano"):
        MIDI_PIANO.encode("pi:3c:7")
    with pytest.raises(NotationError, match=r"'x{24}\.\.\.' is no word"):
        MIDI.encode("x" * 100_000)


@pytest.mark.parametrize("number", [-1, 20096])
def test_an_id_beyond_the_vocabulary_is_refused(number):
    with pytest.raises(ValueError, match=r"range 0\.\.20095"):
        MIDI.decode([3, number])


def test_documents_stand_between_the_separators_of_the_model():
    assert MIDI.document("pi:3c:7 t10") == [0, 13143, 12, 0]
    assert MIDI_PIANO.document("p:3c:5 t10") == [1, 1093, 12, 2]


@EVERY
@given(data=st.data())
def test_ids_survive_as_words(words: MidiWords, data):
    ids = data.draw(st.lists(st.integers(0, words.vocabulary_size - 1)))
    assert words.encode(words.decode(ids, specials=True)) == ids
    assert [words.note_id(words.note(number)) for number in ids if number >= FIRST_NOTE] == [
        number for number in ids if number >= FIRST_NOTE
    ]


@settings(deadline=None)
@given(st.text() | st.text(st.sampled_from("pit<>:0123 \n")))
def test_any_text_is_encoded_or_refused_in_one_line(text):
    try:
        assert len(MIDI.encode(text)) == len(text.split())
    except NotationError as error:
        assert error.place
        assert "\n" not in str(error)


@pytest.mark.parametrize("words", [MIDI, MIDI_PIANO], ids=lambda words: words.name)
def test_a_published_file_is_recognised(words):
    assert recognise(published_tokenizer(words).to_str()) is words


def test_the_older_vocabulary_that_begins_with_t0_is_not_taken_for_the_published_one():
    content = json.loads(published_tokenizer(MIDI).to_str())
    vocabulary = {word: number + (2 < number < 128) for word, number in MIDI.ids.items() if word != "t125"}
    content["model"]["vocab"] = {"t0": 3, **vocabulary}
    with pytest.raises(ValueError, match=r"not known here: expected midi's 20096 words or midipiano's 2176 words"):
        recognise(json.dumps(content))


@settings(deadline=None)
@given(st.text() | st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)).map(json.dumps))
def test_other_files_are_not_recognised(text):
    with pytest.raises(ValueError, match="tokenizer file|not known here"):
        recognise(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"model": {"vocab": 3}}', '{"model": []}', " " * 5_000_000])
def test_hostile_files_are_refused(text):
    with pytest.raises(ValueError, match="tokenizer file|not known here"):
        recognise(text)
