"""Lines that come back are the tune's own, in their order, and stand behind where they stood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_music_tokenizers.restating import restate_lines

HEADER = "R:air\nM:4/4\nL:1/4\nK:G\n"
LINES = ["GABc|d2d2|\n", "edcB|A2A2|\n", "A:|\n", "GABG|G4|]\n"]
TUNE = HEADER + "".join(LINES)


@given(st.floats(0, 1, exclude_max=True))
def test_lines_come_back_further_on_and_nothing_else_changes(choice):
    found = restate_lines(TUNE, choice)
    assert found.startswith(HEADER) and len(TUNE) < len(found)
    lines = found.removeprefix(HEADER).splitlines(keepends=True)
    assert set(lines) == set(LINES)
    # The first time they are met, lines are in the order of the tune.
    assert list(dict.fromkeys(lines)) == LINES


def test_one_line_to_six_come_back_and_many_choices_are_many_tunes():
    tunes = {restate_lines(TUNE, number / 997) for number in range(997)}
    more = {tune.count("\n") - TUNE.count("\n") for tune in tunes}
    assert more == {1, 2, 3, 4, 5, 6} and len(tunes) > 100


def test_a_single_line_follows_itself_and_ends_as_a_line():
    found = {restate_lines(HEADER + "GABc|d4|]", number / 9) for number in range(9)}
    assert found == {HEADER + "GABc|d4|]\n" * times for times in (2, 3, 4)}


@pytest.mark.parametrize(
    "text",
    ["", "GABc|", HEADER, HEADER + "GABc|\nM:3/4\nGAB|\n", HEADER + "GABc|\n%text\nGABc|\n", HEADER + "G4|\n" * 65],
)
def test_what_is_no_plain_tune_stays_as_it_is(text):
    assert restate_lines(text, 0.3) == text
