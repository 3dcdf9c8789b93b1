"""Mistakes in ABC are warnings with a place; what is no music is refused; nothing takes long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.score import Bar, Score


def tune(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> Score:
    return read_abc(f"X:1\n{header}\n{music}")


@pytest.mark.parametrize(
    "music",
    ["C ? D|", "C ] D|", "(1CD|", "[CE|D|", "{ab|C|", "C99999/1|", "Z0|C|", "[]C|", "C|\nM:what\nD|", "jC|", ">C|"],
)
def test_a_mistake_is_a_warning_with_its_place(music: str):
    score = tune(music)
    assert score.warnings
    assert all(warning.place.line >= 5 for warning in score.warnings)
    assert any(event.tones for bar in score.bars() for event in bar.events)


@pytest.mark.parametrize("text", ["", "   \n", "X:1\nT:Nothing\nK:C\n", "hello \0 world", "%%x\n% y", "X:1\nK:C\n||||"])
def test_a_text_without_music_is_refused(text: str):
    with pytest.raises(NotationError):
        read_abc(text)


def test_too_long_a_text_is_refused():
    with pytest.raises(NotationError, match="at most 2000000"):
        read_abc("C" * 2_000_001)


HOSTILE = [
    "C99999999999/7|",
    "(" * 10_000 + "C",
    "[" * 10_000 + "C",
    "{" * 10_000 + "C|C",
    "&" * 10_000 + "C|" * 1000,
    "C" + ">" * 10_000 + "D",
    "C" + "-" * 10_000,
    '"^a"' * 10_000 + "C",
    '"a"' * 10_000 + "C",
    "!f!" * 10_000 + "C",
    "{c}" * 10_000 + "C",
    "Z99" * 15,
    "C" + "\nw:a" * 10_000,
    "C" * 3000 + ("\nw:" + "a " * 30) * 300,
    "K:C\n" + "+:x\n" * 10_000 + "C",
    "\nV:" + "".join(f"\nV:{n}\nC" for n in range(99)),
    "C/511C/509C/503C/499C/491C/487C/479" * 1000,
    "C\n" + "\n" * 10_000,
    "[K:C]>" * 5000 + "C",
    "C|:" * 10_000,
    "C" + "|" * 10_000,
    "[1-99,1-99,1-99" * 2000 + "C",
]


@pytest.mark.parametrize("music", HOSTILE, ids=lambda music: music[:12])
def test_hostile_music_is_read_quickly(music: str):
    assert tune(music).parts


def test_too_many_signs_bars_or_voices_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rwkv_music_tokenizers.abc_reader.MOST_SIGNS", 500)
    monkeypatch.setattr("rwkv_music_tokenizers.abc_voice.MOST_BARS", 50)
    with pytest.raises(NotationError, match="signs"):
        tune("C" * 600)
    with pytest.raises(NotationError, match="bars"):
        tune("C|" * 60)
    with pytest.raises(NotationError, match="voices"):
        tune("".join(f"[V:{n}]C" for n in range(101)))


LINES = st.lists(
    st.sampled_from(
        [
            "C",
            "c'",
            "^D,",
            "z",
            "Z2",
            "[CE]2",
            "(3",
            ">",
            "<",
            "-",
            "|",
            "|:",
            ":|",
            "::",
            "|1",
            ":|2",
            "[|",
            "&",
            "{g}",
            "(",
            ")",
            '"',
            '"G"',
            "!f!",
            "[K:D]",
            "\\",
            "y",
            "`",
            "]",
            "[",
            "}",
            "~",
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80) | LINES | LINES.map("X:1\nM:6/8\nL:1/8\nK:G\n{}".format))
def test_any_text_is_a_score_or_a_notation_error(text: str):
    try:
        score = read_abc(text)
    except NotationError:
        return
    assert all(isinstance(bar, Bar) and bar.events for bar in score.bars())


def test_a_line_that_is_no_field_is_left_out_of_the_header():
    score = tune("C|", "T:one\nN bars are |f2| here\nM:3/4\n3/4=100\nK:D")
    assert (score.meter.text, score.key.tonic, len(list(score.bars()))) == ("3/4", "D", 1)
    assert [warning.place.line for warning in score.warnings] == [3, 5]
