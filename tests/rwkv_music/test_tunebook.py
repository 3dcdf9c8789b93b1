"""One tune out of a book: by number, complete, without the prose around it."""

import pytest

from rwkv_music.errors import UserError
from rwkv_music.tunebook import every_tune, pick_tune

BOOK = """% A book
M:6/8
R:jig
%%titlefont Times

X:1
T:First
K:G
GAB dBA|

Some words about it.

X:2
T:Second
M:4/4

K:D
DEFG A4|

P:B
d8|
"""


def test_a_tune_is_picked_by_its_number():
    first, remark = pick_tune(BOOK, None, "book.abc")
    assert first == "X:1\nM:6/8\nR:jig\n%%titlefont Times\nT:First\nK:G\nGAB dBA|\n"
    assert remark == "book.abc holds 2 tunes; this is number 1 (--tune)"


def test_a_tune_says_more_than_its_book():
    assert pick_tune(BOOK, 2, "book.abc")[0] == (
        "X:2\nR:jig\n%%titlefont Times\nT:Second\nM:4/4\nK:D\nDEFG A4|\nP:B\nd8|\n"
    )


def test_a_tune_alone_needs_no_remark():
    assert pick_tune("K:G\nGABc|\n", None, "tune.abc") == ("K:G\nGABc|\n", "")


def test_notes_are_no_tune_number():
    assert pick_tune("X:1\nK:G\nGABc|\nX:|\n", None, "tune.abc")[0].endswith("X:|\n")


def test_a_number_that_is_not_there_is_told():
    with pytest.raises(UserError, match="book.abc holds 2 tunes, there is no number 3"):
        pick_tune(BOOK, 3, "book.abc")


def test_a_header_for_all_tunes_does_not_grow_a_text_beyond_measure():
    assert [tune[:3] for tune in every_tune(BOOK)] == ["X:1", "X:2"]
    with pytest.raises(UserError, match="20,004 characters stand before 1,000 tunes"):
        every_tune("%%" + 2_000 * "some words" + "\nL:" + "\n" + 1_000 * "X:1\nK:C\n")
