"""Which bars add up: full ones, short ones where a section begins or ends, and wrong ones."""

from fractions import Fraction

import pytest

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.bars import BarCount, BarFault, check_bars, count_bars
from rwkv_music_tokenizers.errors import Place


def faults(music: str, meter: str = "4/4") -> tuple[BarFault, ...]:
    return check_bars(read_abc(f"M:{meter}\nL:1/4\nK:C\n{music}"))


def numbers(music: str, meter: str = "4/4") -> list[tuple[int, Fraction]]:
    """Number and excess of every faulty bar."""
    return [(fault.number, fault.excess) for fault in faults(music, meter)]


def test_a_short_bar_is_named_with_place_and_lack():
    (fault,) = faults("c3/2 c3/2|c c c/|c3|c3|", "6/8")
    assert fault.place == Place(4, 11)
    assert (fault.number, fault.excess) == (2, Fraction(-1, 2))
    assert fault.message == "bar 2 holds 5/8 in a 6/8 meter"
    assert str(fault) == "line 4, column 11: bar 2 holds 5/8 in a 6/8 meter"


def test_a_long_bar_is_wrong_wherever_it_stands():
    assert numbers("C5|D4|E4 F|]") == [(1, 1), (3, 1)]


def test_an_upbeat_is_bar_zero():
    assert numbers("G|C4|D3|E4|F3|]") == [(2, -1)]


@pytest.mark.parametrize(
    "music",
    [
        "G|C4|D3:|",
        "|:G|C4|D3::G|E4|F3:|",
        "C4|D3||G|E4|",
        "C4|D3|]\nE|F4|",
        "|:C4|1D3:|2E4|F4|",
        "|:C3[1D:|[2E|F4|",
        "P:A\nC4|D3|\nP:B\nE|F4|",
        "C2.|D2|E4|",
        "C4|D2",
    ],
    ids=lambda music: music.replace("\n", " "),
)
def test_a_bar_beside_a_section_boundary_may_be_short(music: str):
    assert numbers(music) == []


def test_two_short_bars_at_a_plain_line_are_wrong():
    assert numbers("C4|D3|E|F4|G4|") == [(2, -1), (3, -3)]


def test_the_meter_that_holds_is_the_one_at_the_first_note():
    assert numbers("C4|[M:3/4]D3|E3|\nM:2/4\nF2|G3|A2|") == [(5, 1)]
    assert faults("C4|[M:3/4]D4|E3|")[0].message == "bar 2 holds 4/4 in a 3/4 meter"


@pytest.mark.parametrize("music", ["Z|C4|Z3|D4|", "X|C4|"])
def test_whole_bar_rests_always_fill_their_bar(music: str):
    assert numbers(music) == []


def test_free_meter_asks_for_nothing():
    assert numbers("C|D7|E2|", "none") == []


def test_tuplets_and_broken_rhythm_add_up():
    assert numbers("(3CDE F>G|(5C/D/E/F/G/ A3|c4|") == []


def test_every_layer_is_measured():
    (fault,) = faults("C4|D4&E2F|G4|")
    assert (fault.number, fault.excess) == (2, -1)
    assert fault.message == "layer 2 of bar 2 holds 3/4 in a 4/4 meter"
    assert numbers("D3&E3|C4|") == []


def test_voices_are_counted_apart():
    score = read_abc("M:3/4\nL:1/4\nK:C\nV:1\nC3|D3|E3|\nV:T\nC3|D2|E3|")
    (fault,) = check_bars(score)
    assert (fault.part, fault.number, fault.excess) == ("T", 2, -1)
    assert fault.message == "bar 2 of voice T holds 2/4 in a 3/4 meter"


@pytest.mark.parametrize(
    ("meter", "shown"), [("C", "5/4 in a 4/4"), ("C|", "5/4 in a 2/2"), ("2+2/4", "5/4 in a 2+2/4")]
)
def test_meters_are_spelled_out(meter: str, shown: str):
    assert faults("C5|D4|", meter)[0].message == f"bar 1 holds {shown} meter"


def test_bars_are_counted_by_how_full_they_are():
    score = read_abc("M:4/4\nL:1/4\nK:C\nG|C4|D3|E4|F5|G3:|")
    assert count_bars(score) == BarCount(full=2, short_at_boundary=2, wrong=2)
    assert count_bars(score).total == 6
    assert count_bars(read_abc("M:none\nL:1/4\nK:C\nG|C4|")).total == 0
