"""MIDI files become the words that the published models' data was made of, and better words where that data was wrong."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.midi_events import MidiEvent, MidiStream
from rwkv_music_tokenizers.midi_reader import read_events
from rwkv_music_tokenizers.midi_to_words import EVERY_PIECE, TRAINING, WHOLE_FILE, training_pieces, wait_units
from rwkv_music_tokenizers.midi_words import MIDI, MIDI_PIANO, MIDI_V2
from rwkv_music_tokenizers.midi_words_file import published_tokenizer

TOKENS = Path(__file__).parents[1] / "data" / "tokens"
SHARED = Path(__file__).parents[3] / "shared" / "golden" / "tokens"
CASES = {case["name"]: case for case in json.loads((TOKENS / "midi_encode.json").read_text())}
WAITS = json.loads((TOKENS / "midi_tables.json").read_text())["midi"]["wait_ids_for_ms"]
SHARED_CASES = sorted((SHARED / "encode").glob("*.json"))
PROFILES = {
    "ref": (MIDI, TRAINING),
    "nofilter": (MIDI, EVERY_PIECE),
    "runner": (MIDI, WHOLE_FILE),
    "piano_nofilter": (MIDI_PIANO, EVERY_PIECE),
    "v2wip_nofilter": (MIDI_V2, EVERY_PIECE),
}
TOKENIZERS = {words.name: published_tokenizer(words) for words in (MIDI, MIDI_PIANO, MIDI_V2)}


def pieces(stream: MidiStream, profile: str) -> list[list[int]]:
    words, cutting = PROFILES[profile]
    return training_pieces(stream, words, cutting)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "reference_bug" not in case])
def test_files_become_the_published_words(name, profile):
    case = CASES[name]
    texts = case["profiles"][profile]
    texts = texts if isinstance(texts, list) else case["profiles"][texts]
    ids = pieces(read_events(base64.b64decode(case["midi"])), profile)
    words = PROFILES[profile][0]
    assert [words.decode(piece, specials=True) for piece in ids] == texts
    assert ids == [TOKENIZERS[words.name].encode(text).ids for text in texts]


@pytest.mark.skipif(not SHARED_CASES, reason="needs the shared golden vectors")
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("path", SHARED_CASES, ids=lambda path: path.stem)
def test_every_file_becomes_the_published_words(path, profile):
    case = json.loads(path.read_text())
    if "reference_bug" in case:
        pytest.skip("the published code is wrong here")
    expected = case["profiles"][profile]
    expected = case["profiles"][expected["same_as"]] if "same_as" in expected else expected
    ids = pieces(read_events((SHARED / case["midi"]).read_bytes()), profile)
    words = PROFILES[profile][0]
    assert [{"text": words.decode(piece, specials=True), "ids": piece} for piece in ids] == expected["pieces"]


def test_the_time_of_unknown_meta_events_counts():
    # The published code loses the 480 ticks before the unknown event.
    case = CASES["unknown_meta_delta"]
    (piece,) = pieces(read_events(base64.b64decode(case["midi"])), "nofilter")
    assert case["profiles"]["nofilter"] == ["<start> pi:3c:8 t31 pi:3c:0 t31 pi:3e:8 t31 pi:3e:0 <end>"]
    assert MIDI.decode(piece) == "pi:3c:8 t31 pi:3c:0 t94 pi:3e:8 t31 pi:3e:0"


@pytest.mark.parametrize("milliseconds", WAITS)
def test_a_wait_has_the_published_words(milliseconds):
    assert wait_units(float(milliseconds)) == WAITS[milliseconds]


def test_a_file_without_tracks_has_no_pieces():
    assert training_pieces(MidiStream(1, 480, ()), MIDI) == []


EVENTS = st.builds(
    MidiEvent,
    st.integers(0, 3000),
    st.sampled_from(["on", "off", "control", "program"]),
    st.integers(0, 15),
    st.sampled_from([7, 11, 39, 60, 64, 123]),
    st.integers(1, 127),
) | st.builds(MidiEvent, st.integers(0, 3000), st.just("tempo"), st.just(-1), st.integers(1, 2**24 - 1))


@settings(deadline=None)
@given(
    tracks=st.lists(st.lists(EVENTS, max_size=40).map(lambda track: tuple(sorted(track))), max_size=3),
    ticks=st.integers(1, 32767),
    profile=st.sampled_from([*PROFILES]),
)
def test_any_events_become_pieces_of_words(tracks, ticks, profile):
    words = PROFILES[profile][0]
    for piece in pieces(MidiStream(1, ticks, tuple(tracks)), profile):
        assert (piece[0], piece[-1]) == (1, 2)
        assert all(2 < number < words.vocabulary_size for number in piece[1:-1])


def test_all_notes_off_again_and_again_takes_no_time():
    pressed = [MidiEvent(0, "on", channel, pitch, 80) for channel in range(16) for pitch in range(128)]
    pedals = [MidiEvent(0, "control", channel, 64, 127) for channel in range(16)]
    again = [MidiEvent(tick, "control", 0, 123, 0) for tick in range(100_000)]
    up = [MidiEvent(100_000, "control", channel, 64, 0) for channel in range(16)]
    (piece,) = pieces(MidiStream(0, 480, ((*pedals, *pressed, *again, *up),)), "nofilter")
    # Every key comes up once, with the pedal.
    assert len([number for number in piece[1:-1] if number >= 128]) == 2 * 16 * 128
