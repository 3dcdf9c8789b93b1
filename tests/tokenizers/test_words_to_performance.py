"""What a MIDI model wrote is heard in time, and no note hangs, overlaps itself or is lost."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.midi_words import MIDI, MIDI_PIANO
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.words_to_performance import words_to_performance

CASES = json.loads((Path(__file__).parents[1] / "data" / "tokens" / "midi_decode.json").read_text())


def heard(text: str, words=MIDI) -> dict[str, list[list[int]]]:
    """Notes by instrument: start and end in milliseconds, pitch, velocity."""
    performance = words_to_performance(words.encode(text), words)
    return {track.name: track.notes.tolist() for track in performance.tracks}


def test_time_does_not_drift():
    (every_wait,) = (case["text"] for case in CASES if case["name"] == "every_wait")
    units = [int(word[1:]) for word in every_wait.split() if word.startswith("t")]
    performance = words_to_performance(MIDI.encode(every_wait), MIDI)
    # The published player is 41 ms late by then. The last wait stands behind the last note.
    assert performance.end == 8 * sum(units[:-1])
    assert performance.seconds(np.array([1000])).tolist() == [1.0]


def test_each_instrument_has_its_track_and_program():
    performance = words_to_performance(MIDI.encode("pi:3c:7 p:24:b t10 pi:3c:0 p:24:0"), MIDI)
    assert [(track.name, track.program, track.drums) for track in performance.tracks] == [
        ("percussion", 0, True),
        ("piano", 0, False),
    ]
    assert heard("pi:3c:7 p:24:b t10 pi:3c:0 p:24:0") == {"percussion": [[0, 80, 36, 127]], "piano": [[0, 80, 60, 70]]}
    assert heard("p:3c:5 t10 p:3c:0", MIDI_PIANO) == {"piano": [[0, 80, 60, 29]]}


def test_a_key_pressed_again_ends_its_note():
    assert heard("pi:3c:7 t20 pi:3c:9 t20 pi:3c:0 t5 pi:3c:0") == {"piano": [[0, 160, 60, 70], [160, 320, 60, 97]]}


def test_a_key_pressed_twice_at_once_counts_once_the_louder():
    assert heard("g:3e:a g:3e:9 t10 g:3e:0") == {"guitar": [[0, 80, 62, 111]]}
    assert heard("g:3e:9 g:3e:0 g:3e:a t10 g:3e:0") == {"guitar": [[0, 80, 62, 111]]}


def test_a_key_released_at_once_is_heard():
    assert heard("p:24:a p:24:0 t10 p:24:0 t10 p:24:a p:24:0") == {"percussion": [[0, 8, 36, 111], [160, 168, 36, 111]]}


def test_a_note_without_release_ends():
    second = " t125"
    # Pressed again after 9 s; three seconds after the document at most; after 5 s at most.
    assert heard("pi:3c:7" + 9 * second + " pi:3c:7" + second) == {"piano": [[0, 5000, 60, 70], [9000, 13000, 60, 70]]}
    assert heard("pi:3c:7" + 9 * second) == {"piano": [[0, 5000, 60, 70]]}


def test_a_release_is_obeyed_however_late():
    assert heard("pa:3c:7" + 20 * " t125" + " pa:3c:0") == {"pad": [[0, 20_000, 60, 70]]}


def test_documents_follow_each_other_after_a_rest():
    expected = {"piano": [[0, 160, 60, 70], [3160, 3320, 64, 70]]}
    assert heard("<start> pi:3c:7 t20 pi:3c:0 <end> <start> pi:40:7 t20 pi:40:0 <end>") == expected
    assert heard("<pad> pi:3c:7 t20 pi:3c:0 <pad> <pad> pi:40:7 t20 pi:40:0") == expected


def test_an_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"range 0\.\.20095, not 20096"):
        words_to_performance([128, 20096], MIDI)


def test_nothing_is_silence():
    assert words_to_performance([], MIDI).count == 0


FEW = st.sampled_from([0, 1, 2, 3, 50, 127, 13143, 13145, 13136, 13150, 848, 850, 20095]) | st.integers(0, 20095)


@settings(deadline=None)
@given(st.lists(FEW, max_size=80))
def test_no_note_overlaps_itself_whatever_was_written(ids):
    performance = words_to_performance(ids, MIDI)
    no_overlap(performance)
    pressed = {MIDI.note(number)[:2] for number in ids if number >= 128 and MIDI.note(number).level}
    names = [row.name for row in MIDI.instruments]
    played = {(names.index(track.name), pitch) for track in performance.tracks for pitch in track.notes[:, 2].tolist()}
    assert played == pressed


def no_overlap(performance: Performance) -> None:
    for track in performance.tracks:
        assert (track.notes[:, 0] < track.notes[:, 1]).all()
        for pitch in set(track.notes[:, 2].tolist()):
            notes = track.notes[track.notes[:, 2] == pitch]
            assert (notes[:-1, 1] <= notes[1:, 0]).all()
