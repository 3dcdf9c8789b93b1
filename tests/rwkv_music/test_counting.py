"""Counting bars: upbeats, section ends, bars that are too short or too long, and where the counting begins."""

from fractions import Fraction

import pytest

from rwkv_music.counting import BarCount

HEADER = "X:1\nM:4/4\nL:1/8\nK:G\n"


def counted(made: str, prompt: str = "") -> Fraction:
    count = BarCount(HEADER + prompt)
    for character in made:
        count.follow(character)
    return count.bars


@pytest.mark.parametrize(
    ("made", "bars"),
    [
        ("c8|d8|", 2),
        ("g2|c8|d6:|", 2),
        ("c8|d7:|\n|:g|e8|", 3),
        ("g4|c8|d4|", Fraction(3, 2)),
        ("g4|c8|d4||", 2),
        ("|:g2|c8|d6:|2 d6|]", 3),
        ("c8||\n|:d8|", 2),
        ("c7|d8|", Fraction(15, 8)),
        ("z16|c8|", 2),
        ("c8|d4", 1),
        ("[M:none]GAB|c|", 2),
        ("[M:5/4]c8|", Fraction(4, 5)),
    ],
)
def test_a_bar_line_counts_what_its_bar_holds_and_an_upbeat_nothing(made, bars):
    assert counted(made) == bars


def test_the_bar_that_the_text_before_began_counts_by_its_rest():
    assert counted("c4|d8|", "G8|A4") == Fraction(3, 2)
    assert counted("c4:|", "G8|A2") == 1 - Fraction(1, 4)


def test_a_short_last_bar_is_whole_also_where_the_upbeat_stands_before():
    assert counted("d8|e6:|", "|:g2|c8|") == 2


def test_a_section_has_its_own_count_over_the_text_before():
    assert BarCount(HEADER + "|:g2|c8|d6:|").section == 2
    assert BarCount(HEADER + "g2|c8|d6:|\n|:e2|f8|").section == 1


def test_a_line_after_a_line_is_known():
    count = BarCount(HEADER)
    count.follow("c8|\n|")
    assert count.line_again
    count.follow(":d")
    assert not count.line_again
