"""Scores as JSON and back."""

import json
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music.render.errors import RenderError
from rwkv_music.render.plain import read_json, write_json
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import NotationError

FEATURES = json.loads((pathlib.Path(__file__).parents[2] / "data" / "tokens" / "abc_features.json").read_text())
RICH = """X:1
T:Everything
Q:"Allegro" 3/8=100
M:6/8
L:1/8
K:D exp _b ^c
V:1 name="Fiddle"
%%MIDI program 40
P:A
|:{/ga}"D7"!p!.c3 "^slow"(3[ce-]ee (A2|B)z A & D3 ::[1,3 x6 | Z :|[2 [M:9/8][K:Am]a9 |]
w:so-_ng * words
W:after the tune
"""


@pytest.mark.parametrize("abc", [case["abc"] for case in FEATURES] + [RICH], ids=range(len(FEATURES) + 1))
def test_a_score_survives_the_round_trip(abc: str):
    score = read_abc(abc)
    assert read_json(write_json(score, ["seed 7"])) == (score, ("seed 7",))


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="CDEFGABcdz|:[]()1234/-<>{}\"&~.^_= '\n", max_size=100))
def test_any_score_survives_the_round_trip(music: str):
    try:
        score = read_abc("X:1\nM:4/4\nL:1/8\nK:C\n" + music)
    except NotationError:
        return
    assert read_json(write_json(score))[0] == score


def test_fractions_are_exact_strings():
    plain = json.loads(write_json(read_abc("X:1\nM:4/4\nL:1/8\nK:C\n(3CDE F>G|]\n")))
    items = plain["score"]["parts"][0]["bars"][0]["items"]
    assert [item["length"] for item in items] == ["1/3", "1/3", "1/3", "3/4", "1/4"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"4/4"', "44", "score.meter.text: str expected, not 44"),
        ('"step": "C"', '"stp": "C"', "there is no 'stp' in a pitch"),
        ('"step": "C",', "", "'step' is missing"),
        ('"kind": "event"', '"kind": "Score"', '"kind" should be one of event, key'),
        ('"length": "1"', '"length": "1e9"', 'a fraction such as "3/2" expected'),
        ('"length": "1"', '"length": "1/0"', "a fraction over nothing"),
        ('"length": "1"', '"length": "' + "9" * 5000 + '"', "a fraction"),
        ('"octave": 4', '"octave": true', "octave: int expected, not True"),
        ('"version": 1', '"version": 2', "version 1 can be read"),
        ('"rwkv-music score"', '"song"', "not a score"),
        ('"parts": [', '"parts": 7, "x": [', "there is no 'x' in a score"),
        ("}", "", "not JSON"),
    ],
)
def test_what_is_no_score_is_refused_with_its_place(old: str, new: str, message: str):
    text = write_json(read_abc("X:1\nM:4/4\nL:1/4\nK:C\nC|]\n"))
    assert old in text
    with pytest.raises(RenderError) as refused:
        read_json(text.replace(old, new, 1))
    assert message in str(refused.value)


def test_nesting_without_end_is_refused():
    with pytest.raises(RenderError):
        read_json("[" * 100_000)
