"""Control codes count sections and bars and measure likeness as the published models learnt it."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.control_codes import (
    control_codes,
    edit_distance,
    join_repeats,
    likeness,
    published_text,
    sections,
    seen_text,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "tokens" / "abc.json").read_text())["control_codes"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_codes_are_the_published_ones(case):
    assert seen_text(case["input"]) == case["abc_notation"].removeprefix("X:1\n")
    assert sections(case["input"]) == case["sections"]
    assert control_codes(case["input"]) == case["control_code"]
    assert published_text(case["input"]) == case["rwkv_text"]


@pytest.mark.parametrize("between", [":|\n|:", ":| |:", ":||:", ":|:", "::"])
def test_joined_repeats_count_no_section_between(between):
    tune = f"L:1/8\nK:C\n|: A2 B2 | c4 {between} d2 e2 | f4 :|\n"
    assert control_codes(join_repeats(tune)) == "S:2\nB:2\nE:6\nB:2\n"


def test_too_many_sections_have_no_codes():
    assert control_codes("K:C\n" + "C|D||" * 8) is not None
    assert control_codes("K:C\n" + "C|D||" * 9) is None


def test_too_many_bars_have_no_codes():
    assert control_codes("K:C\n" + "C|" * 31 + "C|]") == "S:1\nB:32\n"
    assert control_codes("K:C\n" + "C|" * 32 + "C|]") is None


def test_a_tune_without_music_has_no_codes():
    assert control_codes("") is None
    assert published_text("X:1\nT:nothing\nK:C\n") is None


def plain_distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for number, a in enumerate(first, 1):
        above, row = row, [number]
        for column, b in enumerate(second):
            row.append(min(above[column] + (a != b), above[column + 1] + 1, row[column] + 1))
    return row[-1]


@settings(deadline=None)
@given(st.text("AB|c", max_size=12), st.text("AB|c", max_size=12))
def test_distance_is_levenshteins(first, second):
    assert edit_distance(first, second) == plain_distance(first, second)


def test_likeness_reaches_from_nothing_to_the_same():
    assert likeness("abcd", "efgh") == 0
    assert likeness("abcd", "abcd") == 10
    assert likeness("", "") == 10


def test_hostile_text_is_quick():
    started = time.thread_time()
    for body in ["A" * 200_000, "A|" * 100_000, "||" * 100_000, ("AB" * 510 + "||") * 8, ":|\n" * 50_000]:
        control_codes(join_repeats("K:C\n" + body))
    assert time.thread_time() - started < 5
