"""How lengths are written: note values, tuplets and beams."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_music.render.values import MOST_PIECES, beams, flags, tuplet_places, values
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.score import Event


def events(music: str) -> tuple[Event, ...]:
    return read_abc(f"X:1\nM:4/4\nL:1/8\nK:C\n{music}|\n").parts[0].bars[0].events


def test_plain_and_dotted_lengths_are_one_note():
    for length in ("4", "2", "1", "1/2", "1/64", "3", "3/2", "3/4", "7/2", "7/4", "8", "12"):
        assert len(values(Event(Fraction(length)))) == 1


@pytest.mark.parametrize(
    ("length", "pieces"),
    [("5", "4 1"), ("5/2", "2 1/2"), ("9/2", "4 1/2"), ("15/4", "3 3/4"), ("9/8", "1 1/8"), ("20", "12 8")],
)
def test_other_lengths_are_tied_notes(length: str, pieces: str):
    assert " ".join(str(value.length) for value in values(Event(Fraction(length)))) == pieces


def test_a_triplet_is_written_longer_than_it_sounds():
    [value] = values(events("(3CDE")[0])
    assert (value.length, value.actual, value.normal) == (Fraction(1, 2), 3, 2)


def test_a_third_that_nobody_called_a_triplet_is_one():
    [value] = values(Event(Fraction(1, 3)))
    assert (value.length, value.actual, value.normal) == (Fraction(1, 2), 3, 2)


@given(st.fractions(min_value=0, max_value=64, max_denominator=64))
def test_the_pieces_add_up(length: Fraction):
    pieces = values(Event(length))
    total = sum(piece.length * piece.normal / piece.actual for piece in pieces)
    assert abs(total - length) <= Fraction(1, 64)
    assert len(pieces) <= MOST_PIECES


def test_an_endless_note_is_not_written_endlessly():
    assert len(values(Event(Fraction(10**12)))) == MOST_PIECES


def test_flags_are_counted():
    assert [flags(Fraction(length)) for length in ("4", "1", "3/4", "1/2", "1/4", "3/16")] == [0, 0, 1, 1, 2, 3]


def test_notes_without_a_space_between_them_share_a_beam():
    assert beams(events("CDE F2 GA")) == [
        ("start",),
        ("continue",),
        ("stop",),
        (),
        ("start",),
        ("stop",),
    ]


def test_shorter_notes_have_further_beams_or_stubs():
    assert beams(events("C>D")) == [("start",), ("stop", "left")]
    assert beams(events("C/D/E")) == [("start", "start"), ("continue", "stop"), ("stop",)]
    assert beams(events("C/D")) == [("start", "right"), ("stop",)]


def test_rests_and_quarters_break_a_beam():
    assert beams(events("CzD")) == [(), (), ()]
    assert beams(events("C2D")) == [(), ()]


def test_a_tuplet_without_a_beam_needs_a_bracket():
    places = tuplet_places(events("(3CDE (3C2D2E2"))
    assert [(place.begins, place.ends, place.bracket) for place in places] == [
        (True, False, False),
        (False, False, False),
        (False, True, False),
        (True, False, True),
        (False, False, True),
        (False, True, True),
    ]


def test_a_tuplet_that_the_bar_line_cuts_ends_there():
    assert tuplet_places(events("CD(3EF"))[-1].ends
