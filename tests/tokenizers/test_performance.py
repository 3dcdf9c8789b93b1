"""Notes in ticks and when they sound."""

import numpy as np
import pytest

from rwkv_music_tokenizers.performance import Performance, Track, rows


def test_every_tempo_counts_for_its_own_stretch():
    # A quarter is 0.5 s up to tick 200, then 1 s.
    played = Performance((), 100, tempos=rows([(0, 500_000), (200, 1_000_000)], 2))
    assert played.seconds(np.array([0, 50, 200, 250])).tolist() == [0.0, 0.25, 1.0, 1.5]


def test_a_piece_ends_with_its_last_note_whichever_track_has_it():
    short, long = (Track(rows([(0, end, 60, 64)], 4)) for end in (10, 30))
    assert Performance((long, short, Track(rows([], 4))), 24).end == 30
    assert Performance((), 24).end == 0
    assert Performance((long, short), 24).count == 2


def test_notes_cannot_be_changed_in_place():
    track = Track(rows([(0, 1, 60, 64)], 4))
    with pytest.raises(ValueError, match="read-only"):
        track.notes[0, 0] = 5
