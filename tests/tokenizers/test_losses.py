"""What a code loses is counted note by note."""

from dataclasses import replace

from rwkv_music_tokenizers.losses import compare
from rwkv_music_tokenizers.performance import Performance, Track, rows

NOTES = [(500, 1000, 60, 80), (1000, 1500, 60, 80), (1000, 2000, 67, 64)]
PIECE = Performance((Track(rows(NOTES, 4)),), 500)


def test_a_piece_loses_nothing_to_itself_wherever_it_begins():
    later = Performance((Track(rows([(a + 250, b + 250, p, v) for a, b, p, v in NOTES], 4)),), 500)
    losses = compare(PIECE, later)
    assert (losses.notes, losses.notes_after, losses.found) == (3, 3, 3)
    assert losses.onset_max_ms == losses.length_mean_ms == losses.velocity_mean == 0


def test_errors_are_milliseconds_of_the_notes_found_again():
    # The second note comes 10 ms late and as long as before, the third is gone.
    after = Performance((Track(rows([NOTES[0], (1010, 1510, 60, 90)], 4)),), 500)
    losses = compare(PIECE, after)
    assert (losses.notes_after, losses.found) == (2, 2)
    plain = losses.plain()
    assert (plain["onset_mean_ms"], plain["onset_max_ms"], plain["velocity_mean"]) == (5.0, 10.0, 5.0)


def test_a_new_note_stands_for_one_old_note_only():
    after = Performance((Track(rows([(750, 1000, 60, 80)], 4)),), 500)
    assert compare(PIECE, after).found == 1


def test_drums_are_no_melody():
    drums = Performance((replace(PIECE.tracks[0], drums=True),), 500)
    assert compare(PIECE, drums).found == 0
