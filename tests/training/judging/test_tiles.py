"""Windows of MIDI pieces follow each other, begin at bars, and fit."""

import numpy as np

from rwkv_music_training.judging.tiles import tiles


def test_tiles_follow_each_other_and_fit():
    places = np.arange(10, 200, 7)
    for phase in (0.1, 0.5, 1.0):
        windows = tiles(places, 8, 205, 30, phase)
        assert windows[0][0] == 0 and windows[-1][1] == 205
        assert all(before[1] == after[0] for before, after in zip(windows, windows[1:], strict=False))
        assert all(end - max(begin, 8) <= 30 for begin, end in windows)
        assert all(begin in places for begin, _ in windows[1:])


def test_a_bar_longer_than_the_room_is_a_window_of_its_own():
    assert tiles(np.array([10, 20, 90]), 10, 100, 15) == [(0, 20), (20, 90), (90, 100)]
    assert tiles(np.array([10]), 10, 100, 15) == [(0, 100)]
