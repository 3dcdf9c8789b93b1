"""A tune moved along its scale keeps signature, rhythm and form, in another mode; exchanged notes come back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.tonal import NotTonal, exchange_notes, move_along_scale, moves_along_scale
from rwkv_music_tokenizers.transpose import transpose_abc

REEL = "R:reel\nM:4/4\nL:1/8\nK:D\n|:d2fd Adfd|(3efg fe ^dB =c2:|\n[K:G] B,>c' z2|]\n"


def lengths(text: str) -> list:
    return [[event.length for event in bar.events] for bar in read_abc("X:1\n" + text).parts[0].bars]


def test_d_major_a_step_higher_is_e_dorian_and_lower_is_a_mode_of_no_tune():
    assert move_along_scale(REEL, 1) == (
        "R:reel\nM:4/4\nL:1/8\nK:Edor\n|:e2ge Bege|(3fga gf ^ec _d2:|\n[K:Ador] C>d' z2|]\n"
    )
    with pytest.raises(NotTonal, match="K:D moved by -1 steps would be in a mode of no tune"):
        move_along_scale(REEL, -1)


@pytest.mark.parametrize(
    ("key", "steps", "moved"),
    [("C", -3, "Gmix"), ("C", 3, None), ("Am", 2, "C"), ("Em", -3, None), ("Bb", -2, "Gm"), ("Ador", -1, "G")],
)
def test_the_tonic_goes_along_and_the_signature_stays(key, steps, moved):
    text = f"L:1/8\nM:4/4\nK:{key}\nc2|\n"
    if moved is None:
        assert steps not in moves_along_scale(text)
    else:
        assert f"K:{moved}\n" in move_along_scale(text, steps) and steps in moves_along_scale(text)


@given(st.integers(-3, 3), st.integers(-5, 5))
@settings(max_examples=40, deadline=None)
def test_back_again_is_the_same_tune_whatever_the_key(steps, semitones):
    text = transpose_abc("M:3/4\nL:1/8\nK:G\nB2 ^c_e =f2|G4 g2|]\n", semitones)
    if steps in moves_along_scale(text):
        moved = move_along_scale(text, steps)
        assert move_along_scale(moved, -steps) == text and lengths(moved) == lengths(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('K:C\n"Am"A2|', "chord symbols"),
        ("K:HP\nA2|", "mode that tunes"),
        ("K:D exp _b\nA2|", "mode that tunes"),
        ("K:none\nA2|", "mode that tunes"),
        ("K:Dlyd\nA2|", "mode that tunes"),
        ("K:Q\nA2|", "not a key"),
        ("K:A\n__c2|", "D would be altered by -3 semitones"),
    ],
)
def test_what_has_no_other_mode_says_why(text, why):
    with pytest.raises(NotTonal, match=why):
        move_along_scale(text, 1)
    assert 1 not in moves_along_scale(text)


def test_no_note_leaves_the_staff_of_tunes():
    assert moves_along_scale("K:C\nG,2|") == (1,) and moves_along_scale("K:C\ne'2|") == (-3, -2)


def test_exchanged_notes_keep_octaves_signs_and_everything_that_is_no_note():
    text = 'R:jig\nK:D\n|:A|d2c b^f_G|"Am"[CEG]2 c\'A,:|\n'
    assert exchange_notes(text, (3, 1, 0, 6, 2, 5, 4)) == 'R:jig\nK:D\n|:A|d2f g^b_E|"Am"[FCE]2 f\'A,:|\n'
    assert exchange_notes(text, range(7)) == text


@given(st.permutations(range(7)))
@settings(max_examples=20, deadline=None)
def test_exchanged_back_is_the_same_tune_and_no_bar_changes_its_length(order):
    exchanged = exchange_notes(REEL, order)
    assert lengths(exchanged) == lengths(REEL)
    assert exchange_notes(exchanged, [order.index(step) for step in range(7)]) == REEL
