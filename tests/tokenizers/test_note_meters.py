"""Bars lie where a musician hears them, whatever meters a file tells."""

import numpy as np
import pytest

from rwkv_music_tokenizers.note_meters import lay_bars, listed_meter
from rwkv_music_tokenizers.note_vocabulary import METER_UNITS, METERS


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ((6, 8), (6, 8)),
        ((9, 4), (3, 4)),
        ((12, 4), (6, 4)),
        ((5, 2), (5, 4)),
        ((3, 1), (3, 2)),
        ((24, 8), (12, 8)),
        ((11, 4), (11, 8)),
        ((14, 32), (7, 16)),
        ((7, 32), (1, 32)),
        ((0, 4), (4, 4)),
        ((4, 0), (4, 4)),
        ((-3, 4), (4, 4)),
        ((10**9, 4), (4, 4)),
    ],
)
def test_long_bars_are_cut_into_equal_ones(told, written):
    assert METERS[listed_meter(*told)] == written


def test_a_bar_of_no_meter_becomes_the_nearest():
    # 5/64 is 7.5 units.
    assert METER_UNITS[listed_meter(5, 64)] in (6, 9)


def bars(meters, last):
    starts, changes = lay_bars(meters, last)
    meters_of_bars = np.repeat(
        [place for _, place in changes], np.diff([bar for bar, _ in changes], append=len(starts))
    )
    return [
        (start, "{}/{}".format(*METERS[place])) for start, place in zip(starts.tolist(), meters_of_bars, strict=True)
    ]


def test_bars_end_with_the_one_that_holds_the_last_event():
    assert bars([(0, 3, 4)], 71) == [(0, "3/4")]
    assert bars([(0, 3, 4)], 72) == [(0, "3/4"), (72, "3/4")]


def test_without_a_meter_bars_are_common_time():
    assert bars([], 100) == [(0, "4/4"), (96, "4/4")]
    assert bars([(96, 2, 4)], 100) == [(0, "4/4"), (96, "2/4")]


def test_an_untold_upbeat_stands_before_the_first_bar():
    # 1 + 4 quarters, then a change.
    assert bars([(0, 4, 4), (120, 3, 4)], 130) == [(0, "1/4"), (24, "4/4"), (120, "3/4")]


def test_a_change_amid_a_bar_ends_the_bar_there():
    assert bars([(0, 4, 4), (96, 6, 8), (96 + 72 + 36, 6, 8)], 210) == [
        (0, "4/4"),
        (96, "6/8"),
        (168, "3/8"),
        (204, "6/8"),
    ]


def test_a_rest_of_a_bar_that_no_sixteenths_fill_ends_with_a_thirty_second():
    assert bars([(0, 4, 4), (96, 4, 4), (96 + 15, 2, 4)], 111) == [(0, "4/4"), (96, "1/8"), (108, "1/32"), (111, "2/4")]


def test_the_last_meter_of_a_time_holds_and_changes_are_on_thirty_seconds():
    assert bars([(0, 3, 4), (0, 2, 4), (49, 3, 8)], 50) == [(0, "2/4"), (48, "3/8")]
