"""Syllables find their notes."""

import pytest

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.score import Event, Score, Syllable


def tune(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> Score:
    return read_abc(f"X:1\n{header}\n{music}")


def events(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[Event]:
    return [event for bar in tune(music, header).bars() for event in bar.events]


def sung(music: str) -> list[list[str | None]]:
    """The text of every verse at every note."""
    return [[one and one.text for one in event.lyrics] for event in events(music) if event.tones]


def test_syllables_find_their_notes():
    words = [event.lyrics[0] for event in events("CDEF|\nw: A-ve Ma-_")]
    assert words == [Syllable("A", joined=True), Syllable("ve"), Syllable("Ma", joined=True), Syllable("", held=True)]


@pytest.mark.parametrize(
    ("line", "words"),
    [("a b c d", ["a", "b", "c", "d"]), ("a * c", ["a", None, "c"]), ("of~the~day", ["of the day"])]
    + [
        (r"a\-b c", ["a-b", "c"]),
        ("a--b", ["a", "", "b"]),
        ("time__", ["time", "", ""]),
        ("a|d", ["a", None, None, "d"]),
    ],
)
def test_lyrics_signs(line: str, words: list[str | None]):
    heard = [verse[0] if verse else None for verse in sung(f"CDE|F|\nw: {line}")]
    assert heard == words + [None] * (4 - len(words))


def test_adjacent_lines_are_verses_and_later_lines_go_on():
    assert sung("CD|\nw: a b\nw: 2.~c\nEF|GA|\nw: d e f") == [["a", "2. c"], ["b"], ["d"], ["e"], ["f"], []]


def test_lyrics_may_wait_for_the_end_and_be_continued():
    assert sung("CD|\nEF|\nw: a b\n+: c d") == [["a"], ["b"], ["c"], ["d"]]


def test_syllables_skip_rests_and_grace_notes():
    assert sung("C z {e}D|\nw: a b") == [["a"], ["b"]]


def test_words_after_the_tune():
    assert tune("C|\nW:First line\nW:Second line").words == ("First line", "Second line")
