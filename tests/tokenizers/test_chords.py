"""Chord symbols name the chords that musicians hear in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.chords import ChordSymbol, move_chord, parse_chord
from rwkv_music_tokenizers.intervals import Interval


@pytest.mark.parametrize(
    ("text", "tones"),
    [
        ("C", (0, 4, 7)),
        ("Cmaj", (0, 4, 7)),
        ("Cm", (0, 3, 7)),
        ("Cmin", (0, 3, 7)),
        ("C-", (0, 3, 7)),
        ("C7", (0, 4, 7, 10)),
        ("Cmaj7", (0, 4, 7, 11)),
        ("CM7", (0, 4, 7, 11)),
        ("CΔ", (0, 4, 7, 11)),
        ("Cm7", (0, 3, 7, 10)),
        ("C-7", (0, 3, 7, 10)),
        ("Cm(maj7)", (0, 3, 7, 11)),
        ("CmM7", (0, 3, 7, 11)),
        ("Cdim", (0, 3, 6)),
        ("Co", (0, 3, 6)),
        ("Cdim7", (0, 3, 6, 9)),
        ("C°7", (0, 3, 6, 9)),
        ("Caug", (0, 4, 8)),
        ("C+", (0, 4, 8)),
        ("C+7", (0, 4, 8, 10)),
        ("C7+", (0, 4, 8, 10)),
        ("C+5", (0, 4, 8)),
        ("C-5", (0, 4, 6)),
        ("Csus2", (0, 2, 7)),
        ("Csus4", (0, 5, 7)),
        ("Csus", (0, 5, 7)),
        ("C7sus4", (0, 5, 7, 10)),
        ("C5", (0, 7)),
        ("C6", (0, 4, 7, 9)),
        ("Cm6", (0, 3, 7, 9)),
        ("C6/9", (0, 4, 7, 9, 14)),
        ("C69", (0, 4, 7, 9, 14)),
        ("C9", (0, 4, 7, 10, 14)),
        ("C11", (0, 4, 7, 10, 14, 17)),
        ("C13", (0, 4, 7, 10, 14, 17, 21)),
        ("Cmaj9", (0, 4, 7, 11, 14)),
        ("Cadd9", (0, 4, 7, 14)),
        ("C7b5", (0, 4, 6, 10)),
        ("C7#5", (0, 4, 8, 10)),
        ("C7#9", (0, 4, 7, 10, 15)),
        ("C7(b9)", (0, 4, 7, 10, 13)),
        ("C7♭9", (0, 4, 7, 10, 13)),
        ("C13b9", (0, 4, 7, 10, 13, 17, 21)),
        ("Cm7b5", (0, 3, 6, 10)),
        ("Cø", (0, 3, 6, 10)),
        ("Cø7", (0, 3, 6, 10)),
        # The short forms of the Nottingham collection.
        ("Cd", (0, 3, 6)),
        ("Ca7", (0, 4, 8, 10)),
    ],
)
def test_qualities(text, tones):
    assert parse_chord(text) == ChordSymbol(0, tones, 0)


@pytest.mark.parametrize(
    ("text", "root", "bass"),
    [
        ("F#m", 6, 6),
        ("Bb7", 10, 10),
        ("B♭", 10, 10),
        ("Cb", 11, 11),
        ("D/F#", 2, 6),
        ("Gm/bb", 7, 10),
        ("C6/9/E", 0, 4),
        ("g7", 7, 7),
        ("bb", 10, 10),
        ("(Am)", 9, 9),
        ("G(Em)", 7, 7),
    ],
)
def test_roots_and_basses(text, root, bass):
    chord = parse_chord(text)
    assert chord is not None
    assert (chord.root, chord.bass) == (root, bass)


def test_pitch_classes_stand_in_the_order_of_the_tones():
    chord = parse_chord("A7/C#")
    assert chord is not None
    assert chord.pitch_classes == (9, 1, 4, 7)


@pytest.mark.parametrize(
    "text",
    ["", "Fine", "D.C.", "Coda", "N.C.", "^A", "1.", "Allegro", "H", "C7x", "C/", "Da Capo", "C" * 40, "(", "G(Em"],
)
def test_other_text_is_no_chord(text):
    assert parse_chord(text) is None


WHOLE_TONE = Interval(1, 2)
SEMITONE_DOWN = Interval(-1, -1)


@pytest.mark.parametrize(
    ("text", "interval", "moved"),
    [
        ("Am7/C", WHOLE_TONE, "Bm7/D"),
        ("Bbmaj7", WHOLE_TONE, "Cmaj7"),
        ("Eb", SEMITONE_DOWN, "D"),
        ("C6/9/e", WHOLE_TONE, "D6/9/f#"),
        ("G(Em)", WHOLE_TONE, "A(F#m)"),
        ("(D7)", WHOLE_TONE, "(E7)"),
        ("B♭7", WHOLE_TONE, "C7"),
        ("G#7", Interval(3, 6), "D7"),
        ("Fine", WHOLE_TONE, "Fine"),
    ],
)
def test_symbols_move_by_their_names_alone(text, interval, moved):
    assert move_chord(text, interval) == moved


@settings(deadline=None)
@given(
    st.sampled_from(["C", "F#m7", "Bb/D", "e7", "Abmaj7(#11)", "G(Em)"]),
    st.integers(-12, 12).map(lambda fifths: Interval(4 * fifths, 7 * fifths)),
)
def test_a_moved_chord_is_the_same_chord_elsewhere(text, interval):
    before, after = parse_chord(text), parse_chord(move_chord(text, interval))
    assert before is not None
    assert after is not None
    assert after.tones == before.tones
    assert after.root == (before.root + interval.semitones) % 12
    assert after.bass == (before.bass + interval.semitones) % 12
