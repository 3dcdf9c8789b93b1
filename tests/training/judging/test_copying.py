"""The longest stretch that a text shares with known ones, against the plain search for it."""

import random

import pytest

from rwkv_music_training.judging.copying import SEEDS, Copied, longest_copies


def searched(text: str, known: list[str]) -> int:
    best = 0
    for start in range(len(text)):
        while start + best < len(text) and any(text[start : start + best + 1] in one for one in known):
            best += 1
    return best


@pytest.mark.parametrize("seed", range(20))
def test_stretches_are_as_long_as_those_of_a_plain_search(seed):
    letters = random.Random(seed)
    known = ["".join(letters.choices("ab|", k=letters.randrange(80))) for _ in range(5)]
    asked = ["".join(letters.choices("abc|", k=letters.randrange(60))) for _ in range(5)] + [known[0][3:50] + "z"]
    for text, copied in zip(asked, longest_copies(asked, known), strict=True):
        assert copied.length == searched(text, known)
        assert copied.whole == len(text)
        if copied.length:
            assert text[copied.start : copied.start + copied.length] in known[copied.source]


def test_a_whole_text_is_found_in_the_text_that_holds_it():
    letters = random.Random(1)
    known = ["".join(letters.choices("abcdefg|", k=3000)) for _ in range(4)]
    assert longest_copies([known[2]], known) == [Copied(3000, 3000, 0, 2)]
    assert longest_copies([known[2][100:300]], known)[0].share == 1.0


def test_a_stretch_does_not_run_over_the_end_of_a_text():
    assert [copied.length for copied in longest_copies(["abcd", "cdab", "dc"], ["ab", "cd"])] == [2, 2, 1]


def test_nothing_shared_is_nothing():
    assert longest_copies(["xyz", ""], ["abc"]) == [Copied(0, 3, 0, -1), Copied(0, 0, 0, -1)]
    assert longest_copies([""], [""])[0].share == 0.0


def test_the_last_seed_is_one_character():
    assert SEEDS[-1] == 1 and list(SEEDS) == sorted(SEEDS, reverse=True)
