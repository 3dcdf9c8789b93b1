"""Endings: a cut-off bar goes, the prompt stays, and a final bar line stands."""

import pytest

from rwkv_music.closing import close_tune

HEADER = "X:1\nM:4/4\nL:1/8\nK:G\n"


def closed(prompt: str, made: str, complete: bool = False) -> str:
    start = len(HEADER + prompt)
    return close_tune(HEADER + prompt + made, start, complete=complete).removeprefix(HEADER)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("GABc dedB|G8|", "GABc dedB|G8|]\n"),
        ("GABc dedB|G8||\n", "GABc dedB|G8|]\n"),
        ("GABc dedB|G8|]\n", "GABc dedB|G8|]\n"),
        ("GABc dedB|G8:|\n", "GABc dedB|G8:|\n"),
        ("GABc dedB|G8::", "GABc dedB|G8:|\n"),
        ("|:GABc dedB|G8|A8|B8|", "|:GABc dedB|G8|A8|B8:|\n"),
        ("A8:|\n|:B|c8|d8|e8|f7|", "A8:|\n|:B|c8|d8|e8|f7:|\n"),
        ("A8:|\n|:B|c8|d8|e8|", "A8:|\nB|c8|d8|e8|]\n"),
        ("A8:|\n|:c8|d8|e8|f8|g8|", "A8:|\nc8|d8|e8|f8|g8|]\n"),
        ("A8:|\n|:B|GABc dedB|", "A8:|\nB|GABc dedB|]\n"),
        ("A8|B8|:GABc dedB|", "A8|B8|GABc dedB|]\n"),
        ("|:A8|B8::GABc dedB|", "|:A8|B8:|GABc dedB|]\n"),
        ("|:GABc dedB|G8||ABcd efga|", "|:GABc dedB|G8||ABcd efga|]\n"),
        ("GABc dedB|G8:|\n|:", "GABc dedB|G8:|\n"),
        ("GABc dedB|G8|[1", "GABc dedB|G8|]\n"),
        ("|:GABc dedB|1 G8:|", "|:GABc dedB|G8:|\n"),
        ("|:GABc dedB|[1 G8|A8:|", "|:GABc dedB|G8|A8:|\n"),
        ("|:GABc dedB|1 G8:|2 A8:|", "|:GABc dedB|1 G8:|2 A8:|\n"),
        ("|:GABc dedB|1 G8:|2 A8|", "|:GABc dedB|1 G8:|2 A8|]\n"),
    ],
)
def test_a_tune_that_stands_at_a_bar_line_gets_a_final_one(made, expected):
    assert closed("", made) == expected


@pytest.mark.parametrize("cut", ["GA", "GABc de", '"Am', "[CE", "(3AB", "GABc d>"])
def test_a_bar_that_was_cut_off_goes(cut):
    assert closed("", f"GABc dedB|G8|{cut}") == "GABc dedB|G8|]\n"


def test_a_complete_bar_without_its_line_stays():
    assert closed("", "GABc dedB|G8", complete=True) == "GABc dedB|G8|]\n"
    assert closed("", "|:GABc dedB|G8|A8|B8", complete=True) == "|:GABc dedB|G8|A8|B8:|\n"


def test_a_repeat_that_the_prompt_began_is_ended_however_short():
    assert closed("|:GABc", "dedB|") == "|:GABcdedB:|\n"


def test_the_notes_of_the_prompt_stay_even_in_a_cut_off_bar():
    assert closed("GABc d", "ed") == "GABc d|]\n"
    assert closed("GABc dedB|G", "ed") == "GABc dedB|G|]\n"


def test_a_prompt_to_which_nothing_came_is_closed_as_it_was():
    assert closed("GABc dedB||\nw:la la\n", "A") == "GABc dedB|]\nw:la la\n"
    assert closed("GABc dedB:|\n", "|:") == "GABc dedB:|\n"
    assert closed("GABc dedB\nw:la la\n", "A") == "GABc dedB|]\nw:la la\n"
    assert closed("GABc d% a remark\n", "A") == "GABc d|]% a remark\n"


def test_a_header_has_nothing_to_close():
    assert closed("", "") == ""
