"""Music becomes the words of a MIDI model without drifting: no onset is more than 4 ms off."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_words import MIDI, MIDI_PIANO, MidiWords
from rwkv_music_tokenizers.performance import PITCH, START, VELOCITY, Performance, Track, rows
from rwkv_music_tokenizers.performance_to_words import instrument, left_out, performance_to_words
from rwkv_music_tokenizers.words_to_performance import words_to_performance

TOKENS = Path(__file__).parents[1] / "data" / "tokens"
SHARED = Path(__file__).parents[3] / "shared" / "golden" / "tokens"
CASES = json.loads((TOKENS / "midi_encode.json").read_text())
# 120 quarters of 500 ticks a minute: a tick is a millisecond.
MILLISECONDS = 500


def piece(*notes: tuple[int, int, int, int], program: int = 0, pedals=(), drums: bool = False) -> Performance:
    return Performance((Track(rows(notes, 4), program, drums, pedals=rows(pedals, 2)),), MILLISECONDS)


def written(performance: Performance, words: MidiWords = MIDI) -> str:
    return words.decode(performance_to_words(performance, words))


def test_time_is_rounded_as_a_whole():
    # Quarters of 500 ms are 62.5 units: the published encoder writes t62 for each, and is 1 % fast.
    notes = [(500 * beat, 500 * beat + 500, 60 + beat % 2, 80) for beat in range(4)]
    assert written(piece(*notes)) == "pi:3c:8 t62 pi:3c:0 pi:3d:8 t63 pi:3c:8 pi:3d:0 t63 pi:3c:0 pi:3d:8 t62 pi:3d:0"


def test_silence_before_the_first_note_is_dropped_and_later_silence_kept():
    assert written(piece((7000, 7496, 60, 80), (20_496, 20_576, 60, 80))) == " ".join(
        ["pi:3c:8 t62 pi:3c:0", *["t125"] * 13, "pi:3c:8 t10 pi:3c:0"]
    )


def test_what_comes_at_once_is_in_the_published_order():
    tracks = (
        Track(rows([(0, 80, 60, 80), (80, 160, 60, 80)], 4), 73),
        Track(rows([(0, 80, 64, 80), (0, 80, 48, 80)], 4), 0),
        Track(rows([(0, 80, 36, 80)], 4), drums=True),
    )
    expected = "p:24:8 pi:30:8 pi:40:8 f:3c:8 t10 p:24:0 pi:30:0 pi:40:0 f:3c:0 f:3c:8 t10 f:3c:0"
    assert written(Performance(tracks, MILLISECONDS)) == expected


def test_a_key_goes_up_with_the_pedal():
    held = piece((0, 80, 60, 80), (400, 480, 62, 80), (800, 880, 64, 80), pedals=[(40, 240), (480, 640)])
    assert written(held) == "pi:3c:8 t30 pi:3c:0 t20 pi:3e:8 t30 pi:3e:0 t20 pi:40:8 t10 pi:40:0"


def test_a_key_pressed_again_under_the_pedal_is_released_first():
    again = piece((0, 80, 60, 80), (160, 200, 60, 90), pedals=[(0, 800)])
    assert written(again) == "pi:3c:8 t20 pi:3c:0 pi:3c:9 t80 pi:3c:0"


def test_tracks_of_one_instrument_share_its_keys():
    tracks = (Track(rows([(0, 800, 60, 80)], 4), 40), Track(rows([(0, 80, 60, 90), (400, 480, 60, 80)], 4), 48))
    assert written(Performance(tracks, MILLISECONDS)) == "v:3c:9 t50 v:3c:0 v:3c:8 t50 v:3c:0"


def test_the_shortest_note_lasts_a_unit():
    assert written(piece((0, 1, 38, 80), (3, 4, 38, 80), (500, 501, 38, 80), drums=True)) == (
        "p:26:8 t1 p:26:0 t61 p:26:8 t1 p:26:0"
    )


def test_a_tempo_counts():
    slow = Performance((Track(rows([(0, 1, 60, 80)], 4)),), 1, tempos=rows([(0, 1_000_000)], 2))
    assert written(slow) == "pi:3c:8 t125 pi:3c:0"


def test_what_the_vocabulary_cannot_say_is_left_out():
    helicopter = piece((0, 80, 60, 80), program=125)
    assert written(helicopter) == ""
    assert left_out(helicopter, MIDI) == list(helicopter.tracks)
    assert written(piece((0, 80, 60, 80), drums=True), MIDI_PIANO) == ""
    assert written(piece((0, 80, 60, 80)), MIDI_PIANO) == "p:3c:c t10 p:3c:0"


def test_a_piece_longer_than_a_day_is_refused():
    with pytest.raises(ValueError, match="the piece lasts 86401 s: expected at most 86400 s"):
        performance_to_words(piece((0, 80, 60, 80), (86_400_000, 86_401_000, 60, 80)), MIDI)


def test_nothing_has_no_words():
    assert performance_to_words(Performance((), 480), MIDI) == []


NOTES = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(1, 300), st.sampled_from([0, 60, 61, 127]), st.integers(1, 127)),
    min_size=1,
    max_size=30,
)


@st.composite
def performances(draw) -> Performance:
    tracks = []
    for _ in range(draw(st.integers(1, 3))):
        notes = sorted((start, start + length, pitch, velocity) for start, length, pitch, velocity in draw(NOTES))
        edges = sorted(draw(st.sets(st.integers(0, 2500), max_size=6)))
        pedals = list(zip(edges[::2], edges[1::2], strict=False))
        tracks.append(
            Track(rows(notes, 4), draw(st.sampled_from([0, 3, 40, 73])), draw(st.booleans()), "", rows(pedals, 2))
        )
    return Performance(tuple(tracks), draw(st.sampled_from([96, 480])), tempos=rows([(0, 500_000), (700, 431_234)], 2))


def assert_in_time(performance: Performance, words: MidiWords) -> None:
    """Every onset is heard within 4 ms, and no other onset; no note overlaps itself, and none is quieter."""
    heard = words_to_performance(performance_to_words(performance, words), words)
    places = [row.name for row in words.instruments]
    made: dict[tuple[int, int], list] = {}
    for track in heard.tracks:
        for start, _, pitch, velocity in track.notes.tolist():
            made.setdefault((places.index(track.name), pitch), []).append((start, velocity))
    meant: dict[tuple[int, int], list] = {}
    for track in performance.tracks:
        place = instrument(track, words)
        if place >= 0:
            onsets = 1000 * performance.seconds(track.notes[:, START])
            for onset, pitch, velocity in zip(onsets, track.notes[:, PITCH], track.notes[:, VELOCITY], strict=True):
                meant.setdefault((place, int(pitch)), []).append((onset, words.velocities[words.level(int(velocity))]))
    first = min((onset for onsets in meant.values() for onset, _ in onsets), default=0)
    assert made.keys() == meant.keys()
    for key, onsets in meant.items():
        starts = np.array([start for start, _ in made[key]])
        wanted = np.array([onset for onset, _ in onsets]) - first
        assert np.abs(wanted[:, None] - starts).min(1).max() <= 4.000001
        assert np.abs(wanted[:, None] - starts).min(0).max() <= 4.000001
        for onset, velocity in onsets:
            assert max(loud for start, loud in made[key] if abs(start + first - onset) <= 4.000001) >= velocity


@settings(deadline=None, max_examples=200)
@given(performances())
def test_no_onset_is_more_than_4_ms_off(performance):
    assert_in_time(performance, MIDI)
    assert_in_time(performance, MIDI_PIANO)


@settings(deadline=None)
@given(performances())
def test_words_heard_and_written_again_are_the_same_words(performance):
    ids = performance_to_words(performance, MIDI)
    assert performance_to_words(words_to_performance(ids, MIDI), MIDI) == ids


@pytest.mark.parametrize("words", [MIDI, MIDI_PIANO], ids=lambda words: words.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_no_onset_of_a_file_is_more_than_4_ms_off(case, words):
    assert_in_time(read_midi(base64.b64decode(case["midi"])), words)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared golden vectors")
@pytest.mark.parametrize("path", sorted((SHARED / "midi").glob("*.mid")), ids=lambda path: path.stem)
def test_no_onset_of_any_file_is_more_than_4_ms_off(path):
    assert_in_time(read_midi(path.read_bytes()), MIDI)
