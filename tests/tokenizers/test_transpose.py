"""Transposed tunes sound what they should, are spelled simply and keep their layout."""

import json
import time
from itertools import islice
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.transpose import SHIFTS, singable_shifts, transpose, transpose_abc


def in_c(body: str, semitones: int) -> str:
    """The body of a tune in C after the move, without its K: line."""
    return transpose_abc("K:C\n" + body, semitones).split("\n", 1)[1]


JIG = """X:1
T:A Fig for a Kiss
M:6/8
L:1/8
K:G % one sharp
|: "G"G2B "D7"d^cd | ~G3- (3GAB c | {a}gfe !trill![EG]2 "^slowly"z :|
w: fig for a kiss
% a comment: ABC
g'2 A,, | [K:Em] "Em7/B"e^de =d2 c |]
"""

JIG_IN_A = """X:1
T:A Fig for a Kiss
M:6/8
L:1/8
K:A % one sharp
|: "A"A2c "E7"e^de | ~A3- (3ABc d | {b}agf !trill![FA]2 "^slowly"z :|
w: fig for a kiss
% a comment: ABC
a'2 B,, | [K:F#m] "F#m7/C#"f^ef =e2 d |]
"""


def test_only_notes_keys_and_chord_symbols_move():
    assert transpose_abc(JIG, 2) == JIG_IN_A


def test_going_back_restores_the_text():
    assert transpose_abc(JIG_IN_A, -2) == JIG


def test_no_semitones_change_nothing():
    assert transpose_abc(JIG, 0) == JIG


@pytest.mark.parametrize(
    ("key", "semitones", "expected"),
    [
        ("G", 1, "Ab"),
        ("G", -1, "F#"),
        ("F", 1, "Gb"),
        ("F", -1, "E"),
        ("Eb", 3, "Gb"),
        ("D", -1, "Db"),
        ("E", -1, "Eb"),
        ("Bb", -4, "Gb"),
        ("C", 6, "F#"),
        ("Am", 6, "D#m"),
        ("Ador", 1, "Bbdor"),
        ("D Mixolydian", 2, "E Mixolydian"),
        ("Em clef=bass middle=d", 5, "Am clef=bass middle=d"),
        ("C#", 1, "D"),
        ("C#", 12, "C#"),
        ("D ^g", 2, "E ^a"),
        ("D exp _b _e ^f", 7, "A exp =f _b ^c"),
        ("HP", 2, "Bmix"),
        ("none", 2, "none"),
        ("clef=alto", 2, "clef=alto"),
    ],
)
def test_keys_move_to_the_signature_with_the_fewest_accidentals(key, semitones, expected):
    assert transpose_abc(f"K:{key}\n", semitones) == f"K:{expected}\n"


def test_explicit_accidentals_keep_their_meaning():
    assert in_c("^FF=F_B|B", 2) == "^GG=G=c|c"
    assert transpose_abc("K:F\n=B2B", 2) == "K:G\n^c2c"


def test_a_new_double_accidental_is_respelled_and_the_rest_of_its_bar_stays_right():
    # In F sharp, C's G sharp would be C double sharp.
    assert in_c("^GGAG|G", 6) == "=dd^d=d|c"


def test_double_accidentals_of_the_source_stay_double():
    assert in_c("^^F", 2) == "^^G"
    assert in_c("__B", -2) == "__A"


def test_octaves_are_written_in_their_simplest_form():
    assert in_c("B,Bb'", 1) == "Ccc''"
    assert in_c("c,'", 2) == "d"


def test_a_tune_without_key_has_every_accidental_at_its_note():
    assert transpose_abc("X:1\nCDEF|", 2) == "X:1\nDE^FG|"


def test_line_that_opens_with_a_note_and_a_repeat_is_music():
    assert in_c("CD\ne:|\n", 2) == "DE\nf:|\n"


def test_each_voice_keeps_its_own_key():
    text = "K:C\nV:1\nF|[K:G]F|\nV:2\nF|\nV:1\nF|"
    assert transpose_abc(text, 2) == "K:D\nV:1\nG|[K:A]G|\nV:2\nG|\nV:1\nG|"


def test_line_ends_are_kept():
    assert transpose_abc("K:C\r\nC\r\n\r\nD", 2) == "K:D\r\nD\r\n\r\nE"


def test_a_tunebook_opens_a_new_header_at_every_tune():
    assert transpose_abc("X:1\nK:C\nA\n\nX:2\nT:Aha\nK:G\nF", 2) == "X:1\nK:D\nB\n\nX:2\nT:Aha\nK:A\nG"


def test_an_immense_move_is_refused():
    with pytest.raises(ValueError, match=r"range -60\.\.60"):
        transpose_abc("K:C\nC", 61)


def test_shifts_keep_the_signature_simple():
    # C may not become D flat, B or F sharp.
    assert singable_shifts("K:C\nCEG") == (-5, -4, -3, -2, 0, 2, 3, 4, 5)
    # G flat keeps the six flats that it has.
    assert singable_shifts("K:Gb\nG") == tuple(SHIFTS)


def test_shifts_keep_the_range_playable():
    assert singable_shifts("K:G\nG,") == (0, 1, 2, 3, 5)
    assert singable_shifts("K:D\ne'") == (-6, -5, -4, -2, 0)


def test_a_tune_beyond_the_range_is_not_pushed_further():
    assert max(singable_shifts("K:D\na'")) == 0


@settings(deadline=None)
@given(st.text(alphabet="ABCdefg^_=,'|: \"[]K\n%V1(3z2", max_size=80), st.sampled_from(SHIFTS))
def test_any_text_moves_and_comes_back_with_the_same_lines(body, semitones):
    text = "K:D\n" + body
    moved = transpose_abc(text, semitones)
    assert moved.count("\n") == text.count("\n")
    assert 0 in singable_shifts(text)


def test_hostile_text_is_quick():
    # What grew with the square of the length would take minutes.
    started = time.thread_time()
    for piece in ['"', "[K:", "^^^", "A'", "%", "!", "K:G\n", "V:%\n", "[V:x]A", "%%propagate-accidentals not\n"]:
        transpose_abc("K:C\n" + piece * 10_000, 5)
    voices = "".join(f"V:{number}\nA\n%%propagate-accidentals not\n" for number in range(10_000))
    transpose_abc("K:C\n" + voices, 5)
    assert time.thread_time() - started < 15


def test_a_note_tied_over_the_bar_line_keeps_its_accidental():
    # G sharp becomes D natural in F sharp; so must the note that it is held into.
    assert in_c("^G-|G G|", 6) == "=d-|d c|"


def test_an_accidental_holds_in_every_octave_unless_the_tune_says_otherwise():
    assert in_c("^Gg", 6) == "=dd'"
    assert in_c("%%propagate-accidentals octave\n^Gg", 6) == "%%propagate-accidentals octave\n=dc'"


def test_each_overlay_has_accidentals_of_its_own():
    assert in_c("^G & G |", 6) == "=d & c |"


def test_drums_stay_where_they_are():
    text = "V:1\nV:2 clef=perc\nK:C\nV:1\nC|\nV:2\nC|\n"
    assert transpose_abc(text, 2) == "V:1\nV:2 clef=perc\nK:D\nV:1\nD|\nV:2\nC|\n"


MELODY = """X:1
L:1/8
Q:1/4=90
K:Am
V:1
V:2 clef=perc
[V:1]"Am"{^g}A2- (3ABc [^GB]2 & e4 z2 |[K:C]"^hush"G,-G,C'2 "C(Em)"z4 & [K:F]B4 |
[V:2]C4 D4|C8|
"""


@pytest.mark.parametrize("semitones", [-12, -7, -1, 0, 1, 6, 11])
def test_scores_and_texts_move_alike(semitones):
    parts = transpose(read_abc(MELODY), semitones).parts
    # In the text the key itself moves, whatever instrument reads it.
    assert parts[0] == read_abc(transpose_abc(MELODY, semitones)).parts[0]
    assert parts[1] == read_abc(MELODY).parts[1]


def test_a_score_keeps_its_spelling_on_the_way_there_and_back():
    score = read_abc(MELODY)
    assert transpose(transpose(score, 3), -3) == score


SHARED = Path(__file__).parents[3] / "shared" / "data" / "abc" / "valid.jsonl.zst"


@pytest.mark.skipif(not SHARED.exists(), reason="the tunes are not here")
def test_real_tunes_sound_as_far_away_as_asked():
    with zstandard.open(SHARED, "rt") as lines:
        tunes = [json.loads(line)["abc"] for line in islice(lines, 0, None, 4)]
    for number, tune in enumerate(tunes):
        semitones = number % 12 - 6
        score = read_abc(tune)
        moved = read_abc(transpose_abc(tune, semitones))
        assert moved == transpose(score, semitones)
        assert pitches(moved) == [pitch + semitones for pitch in pitches(score)]


def pitches(score):
    return [tone.pitch.midi for bar in score.bars() for event in bar.events for tone in event.tones]
