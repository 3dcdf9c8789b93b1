"""What notes lose is told in numbers."""

from typing import Any

import pytest

from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance, Track, rows


def losses(*tracks, ticks=480, clock: Any = "grid", pedal: Any = "fold", **more):
    piece = Performance(tracks, ticks, **more)
    return NoteTokenizer().encode_reported(piece, NoteOptions(clock=clock, pedal=pedal))[1]


def track(*notes, program=0, drums=False, pedals=()):
    return Track(rows([(*note, 68)[:4] for note in notes], 4), program, drums, pedals=rows(list(pedals), 2))


def test_music_on_the_grid_loses_nothing():
    report = losses(track((0, 480, 60), (480, 720, 62)))
    assert (report.notes, report.notes_written, report.notes_dropped) == (2, 2, 0)
    assert (report.onset_max_ms, report.length_max_ms, report.velocity_mean, report.tempo_max) == (0, 0, 0, 0)


def test_times_off_the_grid_are_told_in_milliseconds():
    # A tick is 500 / 480 ms, a unit 20 ticks.
    report = losses(track((0, 480, 60), (488, 968, 62)))
    assert report.onset_max_ms == pytest.approx(8 * 500 / 480)
    assert report.onset_mean_ms == pytest.approx(4 * 500 / 480)
    assert report.length_max_ms == pytest.approx(0)


def test_a_length_that_is_not_in_the_vocabulary_errs_by_its_distance():
    # 49 units become 48.
    assert losses(track((0, 49 * 20, 60))).length_max_ms == pytest.approx(500 / 24)
    assert losses(track((0, 49 * 20, 60), drums=True)).length_max_ms == 0


def test_cut_and_dropped_notes_are_counted():
    report = losses(track((0, 960, 60), (480, 960, 60), (480, 500, 60)))
    assert (report.notes_dropped, report.notes_cut, report.length_max_ms) == (1, 1, 0)


def test_the_pedal_holds_or_is_left_out():
    played = track((0, 100, 60), (200, 900, 64), pedals=[(50, 400)])
    tempos = rows([(0, 480_000)], 2)
    held = losses(played, clock="perf", tempos=tempos)
    assert (held.notes_held, held.pedals_left_out) == (1, 1)
    kept = losses(played, clock="perf", pedal="keep", tempos=tempos)
    assert (kept.notes_held, kept.pedals_left_out) == (0, 0)


def test_velocities_err_by_their_distance_from_the_middle_of_their_eighth():
    assert losses(track((0, 480, 60, 64))).velocity_mean == 4


def test_changes_of_tempo_meter_and_key_are_counted():
    report = losses(
        track((0, 480, 60), (1920, 2000, 60), (3840, 4000, 60)),
        tempos=rows([(0, 500_000), (1920, 500_001), (2880, 512_821)], 2),
        meters=rows([(0, 4, 4), (3840, 9, 4)], 3),
        keys=rows([(0, 0, 0), (3840, 0, 0)], 3),
    )
    assert (report.tempos, report.tempos_written) == (3, 2)
    assert report.tempo_max == pytest.approx(1 - 116 / 117, rel=0.01)
    assert (report.meters, report.meters_written, report.meters_replaced) == (2, 2, 1)
    assert (report.keys, report.keys_written) == (2, 1)


def test_tracks_are_counted():
    report = losses(*(track((0, 480, 60 + n)) for n in range(18)), track(), track((0, 1, 36), program=8, drums=True))
    assert (report.tracks, report.tracks_silent, report.tracks_merged, report.kits) == (20, 1, 3, 1)
    assert report.notes_dropped == 0


def test_a_piece_without_notes_has_nothing_to_lose():
    assert losses().notes == 0
