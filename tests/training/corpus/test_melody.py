"""One line out of many: what the melody of a piece is."""

import numpy as np

from rwkv_music_tokenizers.performance import END, PITCH, START, Performance, Track, rows
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_training.corpus.items import MIDI, Item
from rwkv_music_training.corpus.melody import melody_of, upper_line
from rwkv_music_training.corpus.pieces import written_piece


def test_of_chords_the_highest_note_is_sung():
    chord = rows([(0, 480, 60, 80), (0, 480, 64, 80), (0, 480, 67, 80), (480, 960, 65, 80)], 4)
    assert upper_line(chord)[:, PITCH].tolist() == [67, 65]


def test_what_begins_far_below_a_sounding_note_accompanies_it():
    notes = rows([(0, 960, 72, 80), (480, 960, 55, 80), (960, 1440, 74, 80)], 4)
    assert upper_line(notes)[:, PITCH].tolist() == [72, 74]


def test_a_note_ends_where_the_next_begins():
    notes = rows([(0, 960, 72, 80), (480, 960, 71, 80)], 4)
    line = upper_line(notes)
    assert line[:, [START, END, PITCH]].tolist() == [[0, 480, 72], [480, 960, 71]]
    assert notes[0, END] == 960  # the part itself is left as it was


def test_the_leading_part_of_a_song_is_its_melody():
    voice = Track(rows([(480 * beat, 480 * beat + 480, 60 + beat, 80) for beat in range(8)], 4))
    piano = Track(rows([(0, 3840, 36, 80)], 4))
    drums = Track(rows([(0, 240, 38, 80)], 4), drums=True)
    song = Performance((drums, voice, piano), 480)
    assert [track.notes[:, PITCH].tolist() for track in melody_of(song).tracks] == [list(range(60, 68))]
    text = written_piece(Item((0, 0), "song.mid", MIDI, write_performance(song)), melody=True).text
    assert text.startswith("M:4/4\n") and text.count("|") == 2


def test_a_piece_of_drums_alone_has_no_melody():
    drums = Performance((Track(rows([(0, 240, 38, 80)], 4), drums=True),), 480)
    assert melody_of(drums).tracks == ()


def test_an_empty_part_has_an_empty_line():
    assert upper_line(np.zeros((0, 4), dtype=np.int64)).shape == (0, 4)
