"""Counts of pieces that can be counted by hand."""

import math

import numpy as np
import pytest

from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_training.judging.statistics import bar_lines, medians, plain, statistics

Notes = list[tuple[int, int, int]]


def piece(notes: Notes, meters: object = ((0, 4, 4),), drums: bool = False) -> Performance:
    """Start, end and pitch of notes, 480 ticks a quarter, 120 quarters a minute."""
    track = Track(rows([(*note, 64) for note in notes], 4), drums=drums)
    return Performance((track,), 480, meters=rows(meters, 3))


def quarters(*pitches: int, start: int = 0) -> Notes:
    return [(start + 480 * place, start + 480 * place + 480, pitch) for place, pitch in enumerate(pitches)]


def test_a_chord_then_silence_then_a_note():
    counted = statistics(piece([(0, 480, 60), (0, 480, 64), (0, 480, 67), (960, 1920, 60)]))
    assert counted.notes == 4 and counted.seconds == 2.0 and counted.notes_a_second == 2.0
    assert counted.pitch_class_entropy == pytest.approx(1.5)
    assert counted.length == 1.0
    # Five quarters of pitches over three quarters of sound, one quarter of four silent.
    assert counted.polyphony == pytest.approx(5 / 3)
    assert counted.empty_beats == pytest.approx(1 / 4)


def test_octaves_are_one_pitch_class_and_unisons_one_pitch():
    assert statistics(piece(quarters(60, 72, 48))).pitch_class_entropy == 0
    assert statistics(piece([(0, 480, 60), (0, 480, 60), (240, 480, 72)])).polyphony == pytest.approx(1.5)


def test_the_best_scale_is_found_on_any_root():
    d_major = quarters(62, 64, 66, 67, 69, 71, 73)
    assert statistics(piece(d_major)).scale_consistency == 1
    assert statistics(piece([*d_major, *quarters(65, start=7 * 480)])).scale_consistency == pytest.approx(7 / 8)
    assert statistics(piece(quarters(*range(60, 72)))).scale_consistency == pytest.approx(7 / 12)


def test_groove_is_what_neighbouring_bars_share():
    alike = quarters(60, 62, 64, 65, 67, 69, 71, 72)
    assert statistics(piece(alike)).groove == 1
    # The second bar lacks two of four onsets, of 96 places in a bar.
    fewer = [*quarters(60, 62, 64, 65), *quarters(60, 62, start=1920), (3800, 3840, 50)]
    expected = 1 - (2 + 1) / 96
    assert statistics(piece(fewer)).groove == pytest.approx(expected)


def test_bars_of_different_lengths_are_not_compared():
    changing = piece(quarters(*range(60, 67)), meters=((0, 4, 4), (1920, 3, 4)))
    assert bar_lines(changing).tolist() == [0, 96, 168]
    assert math.isnan(statistics(changing).groove)


def test_the_last_bar_line_closes_the_bar_that_holds_the_last_note():
    assert bar_lines(piece(quarters(60))).tolist() == [0, 96]
    assert bar_lines(piece(quarters(60, 60, 60, 60))).tolist() == [0, 96]
    assert bar_lines(piece(quarters(60, 60, 60, 60, 60))).tolist() == [0, 96, 192]
    late = piece(quarters(60, 60), meters=((0, 2, 4), (9600, 3, 4)))
    assert bar_lines(late).tolist() == [0, 48]


def test_repetition_is_the_share_of_bars_that_stood_before():
    bar, other = (60, 62, 64, 65), (67, 65, 64, 62)
    assert statistics(piece(quarters(*bar, *other, *bar, *bar))).repetition == pytest.approx(1 / 2)
    assert statistics(piece(quarters(*bar, *other))).repetition == 0
    assert math.isnan(statistics(piece(quarters(*bar))).repetition)


def test_drums_and_silence_count_nothing():
    for performance in (piece(quarters(36), drums=True), Performance((), 480)):
        counted = statistics(performance)
        assert counted.notes == 0 and counted.notes_a_second == 0 and math.isnan(counted.groove)
        assert plain(counted)["polyphony"] is None


def test_medians_leave_out_what_is_not_there():
    counted = [
        statistics(piece(quarters(60, 60))),
        statistics(piece(quarters(60, 62))),
        statistics(Performance((), 480)),
    ]
    told = medians(counted)
    assert told["pitch_class_entropy"] == 0.5 and told["groove"] is None
    assert told["notes"] == 2


def test_all_counts_are_finite_on_made_up_music():
    chance = np.random.default_rng(1)
    starts = np.sort(chance.integers(0, 20_000, 200))
    notes = [(int(start), int(start) + 100, int(chance.integers(40, 90))) for start in starts]
    counted = statistics(piece(notes, meters=((0, 6, 8), (1440, 4, 4))))
    values = [counted.groove, counted.scale_consistency, counted.empty_beats, counted.repetition]
    assert all(0 <= value <= 1 for value in values) and counted.polyphony >= 1
