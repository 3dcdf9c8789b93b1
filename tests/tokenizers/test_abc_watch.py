"""A tune watched while it is written is where the reader would say it is."""

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.abc_watch import Moment, Watch
from rwkv_music_tokenizers.errors import NotationError

HEADER = "X:1\nM:4/4\nL:1/4\nK:C\n"


def watch(text: str) -> Watch:
    watching = Watch()
    watching.feed(text)
    return watching


def now(music: str) -> Moment:
    """Where a tune in 4/4 stands after that music."""
    return watch(HEADER + music).now()


def test_the_header_is_over_after_the_key():
    assert not watch("X:1\nM:6/8\n").now().in_body
    moment = watch("X:1\nM:6/8\nK:C\n").now()
    assert moment.in_body
    assert (moment.meter.text, moment.unit, moment.left) == ("6/8", Fraction(1, 2), 3)


@pytest.mark.parametrize(
    ("music", "position"),
    [("", 0), ("C", 1), ("C3/2", Fraction(3, 2)), ("C>", Fraction(3, 2)), ("C>D", 2), ("(3CD", Fraction(4, 3))]
    + [("[CE", 0), ("[C2E]2", 4), ("{abc}", 0), ("z x", 2), ("C2|D", 1), ("Z", 4), ("C4|Z3", 4), ('"Am"', 0)]
    + [("C[L:1/8]C", Fraction(3, 2)), ("C2&D", 1), ("C!trill!D y2", 2), ("CDEFG", 5), ("C\nw: la la", 1)],
)
def test_the_position_in_the_bar(music: str, position: Fraction):
    assert now(music).position == position
    assert now(music).left == 4 - position


@pytest.mark.parametrize(
    ("music", "bars"),
    [
        ("C4", 0),
        ("C4|", 1),
        ("C4||", 1),
        ("C4::", 1),
        ("C4:|\n|:", 1),
        ("|:C4", 0),
        ("C4| |D4|", 2),
        ("Z3|", 3),
        ("Z3", 2),
    ]
    + [("C3[1D:|[2", 2), ("C4|1D4:|2E4|]", 3), ("C4\nD4|", 1)],
)
def test_bars_are_counted_at_their_lines(music: str, bars: int):
    assert now(music).bars == bars


@pytest.mark.parametrize(
    ("music", "inside"),
    [('"', "quote"), ('"Am', "quote"), ('"Am"', ""), ("[", "chord"), ("[CE", "chord"), ("[CE]", ""), ("{", "grace")]
    + [("{ab", "grace"), ("{ab}", ""), ("!", "decoration"), ("!tri", "decoration"), ("!trill!", ""), ("[K:G", "inline")]
    + [("[K:G]", ""), ("C\nw:la", "field"), ("% so", "comment"), ("C\nK:", "field"), ('[C"x', "quote"), ("C", "")],
)
def test_what_is_open(music: str, inside: str):
    assert now(music).inside == inside


def test_an_open_repeat_is_remembered():
    assert [now(text).repeat_open for text in ("C4|", "|:C4", "|:C4:|", "|:C4::D4", "|:C4::D4:|")] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_tuplets_and_broken_rhythm_wait_for_their_notes():
    assert [now(text).tuplet_left for text in ("(3", "(3C", "(3CDE", "(3:2:4CD")] == [3, 2, 0, 2]
    assert [now(text).broken for text in ("C", "C>", "C>{g}", "C>D")] == [False, True, True, False]


@pytest.mark.parametrize(
    ("music", "there"),
    [("C4|", True), ("C4| \n", True), ("C4:|", True), ("C4", False), ('C4|"G"', False), ("C4|D", False), ("", False)],
)
def test_a_text_ends_at_a_bar_line_or_not(music: str, there: bool):
    assert now(music).at_bar_line is there


def test_voices_are_watched_apart():
    watching = watch("X:1\nM:3/4\nL:1/4\nK:C\nV:1\nC3|D3|\nV:2\nC3|D")
    assert (watching.now().voice, watching.now().bars, watching.now().position) == ("2", 1, 1)
    watching.feed("\n[V:1]")
    assert (watching.now().voice, watching.now().bars, watching.now().position) == ("1", 2, 0)


def test_a_clone_goes_its_own_way():
    watching = watch(HEADER + "C2")
    twin = watching.clone()
    twin.feed(" D2|")
    assert (twin.now().bars, watching.now().bars) == (1, 0)
    assert watching.now().position == 2


def test_looking_changes_nothing():
    looked, plain = Watch(), Watch()
    text = HEADER + '|:"G7"[CE]>D (3abc {g}z|1 !trill!C4:|2 [K:G]D4|]'
    for character in text:
        looked.feed(character)
        looked.now()
        plain.feed(character)
    assert looked.now() == plain.now()


SIGNS = [
    *'Cz|(){}[]"-<> 23/',
    "c'",
    "^D",
    "[CE]",
    "(3",
    "|:",
    ":|",
    "::",
    "|1",
    "[2",
    "Z2",
    "{g}",
    '"G"',
    "!f!",
    "[K:D]",
]
SIGNS += ["[L:1/8]", "[M:3/4]", "\n", "\\\n", ".", "y", "x", "%c\n", "\nw:la\n", "[V:2]", "[V:1]"]


def tune_of(signs: list[str]) -> str:
    """The signs without empty lines, which may end a tune."""
    return re.sub(r"\n+", "\n", "".join(signs)).lstrip("\n")


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(SIGNS), max_size=25).map(tune_of))
def test_the_watch_agrees_with_the_reader(music: str):
    watching = Watch()
    for character in HEADER + music:
        watching.feed(character)
    moment = watching.now()
    try:
        score = read_abc(HEADER + music)
    except NotationError:
        assert moment.bars == 0
        return
    part = next(
        (part for part in score.parts if part.name == moment.voice), score.parts[0] if not moment.voice else None
    )
    closed = [bar for bar in part.bars if bar.close] if part else []
    assert moment.bars == len(closed)
    cut = part.bars[len(closed) :] if part else ()
    # A chord counts when its bracket closes, or the text is over.
    watching.feed("\n]")
    assert watching.now().position == sum((bar.length for bar in cut), Fraction(0))
