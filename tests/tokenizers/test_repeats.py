"""In which order bars are played: repeats, endings, parts, da capo."""

import time
from dataclasses import replace

import pytest

from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.repeats import MAX_BARS, Sign, expand_parts, playing_order


def played(music: str, parts: str = "") -> str:
    """The bars of `music` in playing order. A word is a bar named by its letter, a bar line, an ending such as [1,3,

    a part label such as P:A, or a jump word in <>, which belongs to the bar before it (<segno>, <coda>: after it).
    """
    names: list[str] = []
    signs: list[Sign] = []
    ahead = Sign()
    for word in music.split():
        if word.startswith("["):
            ahead = replace(ahead, ending=tuple(map(int, word[1:].split(","))))
        elif word.startswith("P:"):
            ahead = replace(ahead, label=word[2:])
        elif word in ("<segno>", "<coda>"):
            ahead = replace(ahead, words=frozenset({word[1:-1]}))
        elif word.startswith("<"):
            signs[-1] = replace(signs[-1], words=signs[-1].words | {word[1:-1]})
        elif word == "||":
            signs[-1] = replace(signs[-1], boundary=True)
        elif set(word) <= set("|:"):
            ends = len(word) - len(word.lstrip(":"))
            if ends and signs:
                signs[-1] = replace(signs[-1], ends=ends if "|" in word else 1)
            ahead = replace(ahead, opens=word.endswith(":"))
        else:
            names.append(word)
            signs.append(ahead)
            ahead = Sign()
    return "".join(names[bar] for bar in playing_order(signs, parts))


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("a b", "ab"),
        ("|: a b :| c", "ababc"),
        ("a b :|", "abab"),
        ("a b :| c d :|", "ababcdcd"),
        ("a b :: c :|", "ababcc"),
        ("|:: a ::| b", "aaab"),
        ("a |: b :| c", "abbc"),
        ("|: a |: b :|", "abb"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_repeats_are_played_out(music: str, order: str):
    assert played(music) == order


def test_an_unstarted_repeat_goes_back_to_the_latest_double_bar_line():
    assert played("a || b c :|") == "abcbc"


def test_a_started_repeat_goes_back_to_its_start_past_a_double_bar_line():
    assert played("|: a || b c :|") == "abcabc"


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("|: a [1 b :| [2 c || d", "abacd"),
        ("a [1 b :| [2 c || d", "abacd"),
        ("|: a [1,3 b :| [2 c || d", "abacabd"),
        ("|: a [1,2,3 b :| [4 c || d", "abababacd"),
        ("|: a [1 b :| c", "abac"),
        ("|: a [1 b [2 c || d", "abacd"),
        ("|: a [1 b c :| [2 d e || f", "abcadef"),
        ("a [1 b :| [2 c || d [1 e :| [2 f ||", "abacdedf"),
        ("|: a [1 b :| [2 c |: d :|", "abacdd"),
        ("|: a [1 b :| [2 c :| d", "abacd"),
    ],
)
def test_each_pass_has_its_ending(music: str, order: str):
    assert played(music) == order


def test_an_ending_without_an_end_is_as_long_as_the_first_when_another_repeat_follows():
    assert played("a [1 b :| [2 c d e :| f") == "abacdedef"
    assert played("a [1 b :| [2 c d [1 e :| [2 f") == "abacdedf"


def test_an_ending_without_its_first_is_played_once():
    assert played("a :| [2 b || c") == "aabc"
    assert played("|: a [3 b [1 c :| [2 d") == "abcabd"


@pytest.mark.parametrize(
    ("parts", "order"),
    [
        ("ABA", "aba"),
        ("A2B", "aab"),
        ("A(AB)2", "aabab"),
        ("A.B.A", "aba"),
        ("((AB)2A)2", "ababaababa"),
        ("(AB", "ab"),
        ("A)B", "ab"),
        ("A0B", "b"),
        ("AXB", "ab"),
        ("XYZ", "ab"),
    ],
)
def test_parts_are_played_in_the_order_of_the_header(parts: str, order: str):
    assert played("P:A a P:B b", parts) == order


def test_what_stands_before_the_first_part_is_played_once():
    assert played("z P:A a P:B b", "BAB") == "zbab"


def test_a_part_keeps_its_own_repeats():
    assert played("P:A a :| P:B b [1 c :| [2 d", "ABA") == "aabcbdaa"


def test_a_part_played_as_often_as_it_has_endings_takes_one_a_time():
    assert played("P:A a [1 b :| [2 c :| [3 d :| [4 e || P:B f", "A4.B") == "abacadaef"


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("a b <fine> c d <dcalfine>", "abcdab"),
        ("a b <fine> c d <dc>", "abcdab"),
        ("a b <dc> c", "ababc"),
        ("a <segno> b c <fine> d <dsalfine>", "abcdbc"),
        ("a b <tocoda> c <dcalcoda> <coda> d", "abcabd"),
        ("a b <coda> c <dcalcoda> <coda> d", "abcabd"),
        ("|: a [1 b :| [2 c || d <dc>", "abacdacd"),
    ],
)
def test_da_capo_and_dal_segno_leave_repeats_out_the_second_time(music: str, order: str):
    assert played(music) == order


@pytest.mark.parametrize(
    "parts",
    ["A99999999", "(((A999)999)999)999", "A" + "9" * 5000, "(" * 5000 + "A" + ")" * 5000, "A99999(A99999(A99999"],
)
def test_an_order_of_parts_cannot_explode(parts: str):
    began = time.thread_time()
    with pytest.raises(NotationError):
        expand_parts(parts)
    assert time.thread_time() - began < 5


def test_repeats_cannot_explode():
    with pytest.raises(NotationError, match=f"more than {MAX_BARS} bars"):
        playing_order([Sign(opens=True, ends=10**9)])
