"""Limits: what leaves nothing to sound is refused, and all of it goes through JSON."""

import json

import pytest

from rwkv_music_tokenizers.grammar import NO_LIMITS, Limits


def test_a_range_and_a_scale_leave_the_pitches_in_both():
    assert list(Limits(60, 67, frozenset({0, 4, 7})).pitches) == [60, 64, 67]
    assert len(NO_LIMITS.pitches) == 128


@pytest.mark.parametrize(
    "plain",
    [
        {"lowest": 61, "highest": 60},
        {"lowest": 60, "highest": 60, "classes": [1]},
        {"highest": 128},
        {"classes": [12]},
        {"programs": [-1]},
        {"polyphony": True},
        {"colour": 1},
        {"classes": ["C"]},
    ],
)
def test_limits_that_are_none_are_refused(plain):
    with pytest.raises((ValueError, TypeError)):
        Limits.from_plain(plain)


def test_limits_go_through_json():
    limits = Limits(40, 70, frozenset({0, 4}), frozenset({73}), drums=False, polyphony=3)
    assert Limits.from_plain(json.loads(json.dumps(limits.plain()))) == limits
