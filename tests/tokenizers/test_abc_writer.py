"""What is written in ABC reads back as the same score, and reads well."""

import json
import time
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.abc_voice_text import barline_text
from rwkv_music_tokenizers.abc_writer import write_abc
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key, Pitch
from rwkv_music_tokenizers.score import (
    Annotation,
    Bar,
    Barline,
    Event,
    Meter,
    Part,
    Remark,
    Score,
    Syllable,
    Tempo,
    Tone,
)

COMMON = Meter("4/4", Fraction(4))


def note(step: str, length: Fraction | int = 1, octave: int = 4, alter: int = 0, tied: bool = False, **rest) -> Event:
    return Event(Fraction(length), (Tone(Pitch(step, alter, octave), tied),), **rest)


def score_of(*bars: tuple, key: Key | None = None, **rest) -> Score:
    part = Part(tuple(Bar(items, close=Barline()) for items in bars))
    return Score((part,), COMMON, key or Key(), fields=(("X", "1"),), **rest)


def body(score: Score) -> str:
    return write_abc(score).split("\n", 4)[4].removesuffix("\n")


def music(text: str, header: str = "M:4/4\nL:1/8\nK:C") -> str:
    """The music of a text, read and written again."""
    return write_abc(read_abc(f"X:1\n{header}\n{text}\n")).partition("\nK:")[2].partition("\n")[2].removesuffix("\n")


def assert_survives(score: Score) -> None:
    expected = score if score.header("X") else replace(score, fields=(("X", "1"), *score.fields))
    assert read_abc(write_abc(score)) == expected


def test_the_header_stands_in_its_order():
    text = "X:3\nT:Tune\nT:Other\nC:Me\nR:jig\nZ:you\nN:50 \\% & so\nM:6/8\nL:1/16\nQ:1/4=90\nK:Ador\nA|\n"
    header = "X:3\nT:Tune\nT:Other\nC:Me\nR:jig\nM:6/8\nL:1/16\nQ:1/4=90\nZ:you\nN:50 \\% & so\nK:Ador\n"
    assert write_abc(read_abc(text)) == header + "A|\n"


def test_a_tune_without_a_number_gets_one():
    assert write_abc(read_abc("K:C\nC|")).startswith("X:1\n")


@pytest.mark.parametrize(
    "line",
    [
        "CDEF GABc|",
        "^FF=F2 _B4|B8|",
        "^Ff2 F|",
        "^F4-|F4 F4|",
        "(3CDE (3:2:2C2E (5CDEFG|",
        "d>B A<G c>>B|",
        "c3B A2c2|",
        "[CEG]2 [C-E-]4-[CE]2|",
        "{/g}A2 {gag}B2 {[eg]}c4|",
        '"Am7/C"A2 "^slow""_dim"!fermata!.B2 ~c2 Tuvd2|',
        "(AB (cd) e2)f2|",
        "C/2D/2E3/2F/4G/4 A z x2|",
        "C,,D,E'2 c''4|",
        "|:A8:|B8::c8:|",
        "|:A8|1 B8:|2 c8||[1,3 d8:|[1-3 e8|]",
        "A4 [K:G]F4|[M:3/4]A6|[Q:1/4=60]A6|[P:B]A6|",
        "A4 & e2 f2|C8 & E8 & G8|",
        "Z|Z4|X2|A8|",
        "A8[|]B8.|c8[|d8|]",
        "D8 !D.C.!|",
    ],
)
def test_written_music_reads_back(line):
    assert_survives(read_abc(f"X:1\nM:4/4\nL:1/8\nK:C\n{line}\n"))


@pytest.mark.parametrize(
    ("line", "written"),
    [
        # No accidental where the bar, the tie or the key says it.
        ("^F^FF=F|^F", "^FFF=F|^F"),
        ("^F2-|^F2 ^F2|", "^F2-|F2 ^F2|"),
        ("(3:2:3CDE (3:3:3CDE", "(3CDE (3:3CDE"),
        ("d3/B/ A/G3/", "d>B A<G"),
        ("[CEG]4[C2E2G2]", "[CEG]4 [CEG]2"),
        ("z4|Z|Z|Z|", "z4|Z3|"),
        ("A2:|\n|:B2||\n|:c2:|", "A2:|\n|:B2||\n|:c2:|"),
        ("A8|A8|A8|A8|A8|A8|", "A8|A8|A8|A8|\nA8|A8|"),
    ],
)
def test_music_is_written_in_its_shortest_form(line, written):
    assert music(line) == written


def test_lyrics_stand_under_their_notes():
    text = "C D E F|\nw:one two- three _\nw:* un~e deux- trois\n"
    assert music(text) == "CD EF|\nw:one two- three _\nw:* un~e deux- trois".replace("CD EF", "C D E F")
    assert_survives(read_abc("X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\nGABc|\nw:la-la- la* a\\-b |c~d\n"))


def test_lyrics_after_a_line_without_any_do_not_slip():
    text = "X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\nw:*\nCDEF|\nCDEF|\nCDEF|\nCDEF|\nw:a b c d\n"
    assert_survives(read_abc(text))


def test_voices_are_sections_with_their_names_and_programs():
    text = (
        'X:1\nM:4/4\nL:1/4\nV:1 name="Flute"\n%%MIDI program 73\nV:2 clef=bass\nK:G\n'
        "V:1\nGFGA|\nV:2\n%%MIDI program 42\nG,4|[K:D]F,4|\n"
    )
    score = read_abc(text)
    assert [part.program for part in score.parts] == [73, 42]
    assert_survives(score)


def test_a_program_for_one_voice_stays_with_it():
    text = "X:1\nM:4/4\nL:1/4\nV:1\nV:2\n%%MIDI program 42\nK:G\nV:1\nGFGA|\nV:2\nG,4|\n"
    score = read_abc(text)
    assert [part.program for part in score.parts] == [None, 42]
    assert_survives(score)


def test_remarks_stay_at_their_spot():
    assert_survives(
        read_abc("X:1\nK:C\nAB|\n%%newpage\nP:B\nT:Part [two]\n[N:a]c2|[I:foo]d\n%%MIDI chordprog 3\ne|\nW:end")
    )


def test_a_rest_at_the_head_of_a_line_is_no_field():
    assert music("z8:|") == "z8:|"
    assert music("|A8|\n|:Z :|") == "|A8|\n|:Z:|"
    assert music("A8:|\nZ :|") == "A8:|\nZ :|"


@pytest.mark.parametrize(
    "line",
    [
        Barline(style, ends, starts)
        for style in ("single", "double", "final", "heavy-start", "dotted", "hidden")
        for ends in (0, 1, 2)
        for starts in (False, True)
    ],
    ids=barline_text,
)
def test_every_bar_line_reads_back(line):
    bars = (Bar((note("C"),), close=line), Bar((note("D"),), close=Barline("final")))
    assert_survives(Score((Part(bars),), COMMON, Key(), fields=(("X", "1"),)))
    assert_survives(Score((Part((replace(bars[0], close=line), replace(bars[1], ending=(1, 3)))),), COMMON, Key()))
    assert_survives(Score((Part(bars[1:], open=line),), COMMON, Key()))


def test_accidentals_are_written_as_the_key_needs_them():
    tones = (note("F", alter=1), note("C"), note("B", alter=-1), note("F", alter=1, octave=5))
    assert body(score_of(tones, key=Key("D"))) == "F2 =C2 _B2 f2|"


def test_an_immense_alteration_is_respelled():
    assert body(score_of((note("C", alter=3),))) == "^D2|"


def test_awkward_words_survive():
    words = 'He said "hi" & 100% C:\\dir [x] \\u0041 &amp; ~end'
    events = (note("C", chord="Am", annotations=(Annotation("^", words),), lyrics=(Syllable(words),)),)
    score = score_of((Remark("N", words), *events), words=(words,))
    score = replace(score, fields=(("X", "1"), ("T", words), ("N", words)))
    restored = read_abc(write_abc(score))
    assert restored.words == score.words
    assert restored.fields == score.fields
    assert restored.parts[0].bars[0].items[0] == Remark("N", words)
    assert restored.parts[0].bars[0].events[0].annotations == events[0].annotations


def test_long_words_go_on_in_further_lines():
    words = " ".join(["word"] * 3000)
    text = write_abc(replace(score_of((note("C"),)), fields=(("X", "1"), ("T", words))))
    assert max(map(len, text.split("\n"))) < 2100
    assert read_abc(text).title == words


def test_voice_names_that_abc_cannot_say_are_shown_instead():
    bars = (Bar((note("C"),), close=Barline()),)
    parts = (Part(bars, "Grand Piano", program=0), Part(bars, "", program=40), Part(bars, "2"), Part(bars, "2"))
    restored = read_abc(write_abc(Score(parts, COMMON, Key(), fields=(("X", "1"),))))
    assert [part.name for part in restored.parts] == ["1", "3", "2", "4"]
    assert restored.parts[0].properties == 'name="Grand Piano"'
    assert [part.program for part in restored.parts] == [0, 40, None, None]


def test_a_transposing_part_says_so():
    bars = (Bar((note("C"),), close=Barline()),)
    restored = read_abc(write_abc(Score((Part(bars, transpose=-2),), COMMON, Key())))
    assert restored.parts[0].transpose == -2


def test_tempi_keep_their_words_and_three_decimals():
    tempo = Tempo(Fraction(1000, 9), Fraction(3, 2), "Not too fast")
    text = write_abc(score_of((note("C"),), tempo=tempo))
    assert 'Q:"Not too fast" 3/8=111.111\n' in text


def test_an_empty_bar_becomes_a_hidden_rest():
    assert body(score_of((), (note("C", 4),))) == "X|C8|"


def test_a_bar_rest_of_another_length_is_an_ordinary_rest():
    assert body(score_of((Event(Fraction(1), whole_bar=True),))) == "z2|"


pitches = st.builds(Pitch, st.sampled_from("CDEFGAB"), st.integers(-2, 2), st.integers(-1, 9))
tones = st.builds(Tone, pitches, st.booleans())
lengths = st.builds(Fraction, st.integers(1, 48), st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 24]))
events = st.builds(
    Event,
    lengths,
    st.lists(tones, max_size=3).map(tuple),
    chord=st.sampled_from(["", "G7"]),
    slurs_open=st.integers(0, 2),
    slurs_close=st.integers(0, 2),
)
keys = st.builds(Key, st.sampled_from(["C", "F#", "Bb", "E"]), st.sampled_from(["major", "minor", "dorian"]))
items = st.lists(st.one_of(events, events, events, keys), min_size=1, max_size=8).filter(
    lambda found: any(isinstance(item, Event) for item in found)
)
bars = st.builds(Bar, items.map(tuple), st.lists(events, min_size=1, max_size=3).map(lambda one: ((*one,),)))
simple_bars = st.builds(Bar, items.map(tuple), close=st.just(Barline()))
units = st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(1)])


@settings(max_examples=40, deadline=None)
@given(st.lists(simple_bars, min_size=1, max_size=4), keys, units)
def test_any_pitches_and_lengths_survive(bars, key, unit):
    # A tie at the very end holds nothing, which no reader minds.
    assert_survives(Score((Part(tuple(bars)),), COMMON, key, unit=unit))


@settings(max_examples=40, deadline=None)
@given(st.lists(bars, min_size=1, max_size=3), keys)
def test_any_overlays_survive(bars, key):
    closed = tuple(replace(bar, close=Barline()) for bar in bars)
    assert_survives(Score((Part(closed),), COMMON, key))


NOTES = ["A", "B", "c", "d", "^F", "_B", "=f", "^^g", "c'", "A,", "2", "/2", "3/2", "z", "x2", "[CEG]2", " "]
BARS = ["|", "||", "|]", "|:", ":|", "::", "|1", ":|2", "[2", "|Z|", "|Z3|", "&"]
MARKS = ["(3", ">", "<", "-", "(", ")", "{g}", "{/[eg]}", '"G7"', '"^up"', ".~T", "!trill!"]
FIELDS = ["[K:D]", "[K:Am]", "[M:6/8]", "[L:1/16]", "[Q:1/4=90]", "[P:B]", "[V:2]", "[V:1]"]
LINES = (
    "\nw:la- la * _ x\n",
    "\nK:G\n",
    "\nV:2 clef=bass\n",
    "\nV:1\n",
    "\n%%score 1 2\n",
    "\nN:note [x]\n",
    " ",
    "\n",
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([*NOTES, *BARS, *MARKS, *FIELDS, *LINES]), min_size=1, max_size=40))
def test_whatever_is_read_is_written_in_readable_music(pieces):
    try:
        score = read_abc("X:1\nM:4/4\nL:1/8\nK:C\n" + "".join(pieces) + "\n")
    except NotationError:
        return
    restored = read_abc(write_abc(score))
    assert sounds(restored) == sounds(score)


def sounds(score: Score) -> list:
    layers = [layer for bar in score.bars() for layer in (bar.items, *bar.overlays)]
    return [(item.length, item.tones) for layer in layers for item in layer if isinstance(item, Event)]


@pytest.mark.parametrize("music", ["[1c", "c", "cd|", "Z|", "[K:G]c", "c&", "(3c", "[V:1]c|[V:2]d|", "c\nw:a\n"])
def test_immense_tunes_are_written_quickly(music):
    score = read_abc("X:1\nL:1/8\nK:C\n" + music * 5_000 + "\n")
    started = time.thread_time()
    write_abc(score)
    assert time.thread_time() - started < 5


FEATURES = Path(__file__).parents[3] / "shared" / "golden" / "tokens" / "abc_features.json"
TUNES = Path(__file__).parents[3] / "shared" / "data" / "abc" / "valid.jsonl.zst"


@pytest.mark.skipif(not FEATURES.exists(), reason="the snippets are not here")
def test_every_feature_survives():
    for case in json.loads(FEATURES.read_text()):
        assert_survives(read_abc(case["abc"]))


@pytest.mark.skipif(not TUNES.exists(), reason="the tunes are not here")
def test_real_tunes_survive():
    with zstandard.open(TUNES, "rt") as lines:
        for line in islice(lines, 0, None, 4):
            assert_survives(read_abc(json.loads(line)["abc"]))
