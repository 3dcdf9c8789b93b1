"""What ABC headers say: keys, meters, tempi, and fields that are kept."""

from fractions import Fraction

import pytest

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Event, Meter, Score, Tempo


def tune(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> Score:
    return read_abc(f"X:1\n{header}\n{music}")


def events(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[Event]:
    return [event for bar in tune(music, header).bars() for event in bar.events]


def pitches(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[int]:
    """MIDI keys of all tones in order."""
    return [tone.pitch.midi for event in events(music, header) for tone in event.tones]


@pytest.mark.parametrize(
    ("key", "sharps"),
    [("C", 0), ("G", 1), ("Am", 0), ("A minor", 0), ("Ddor", 0), ("E Phrygian", 0), ("Amix", 2), ("F#m", 3)]
    + [("Bb", -2), ("Gloc", -4), ("Flyd", 0), ("HP", 2), ("Hp", 2), ("none", 0), ("", 0), ("E♭", -3), ("AMin", 0)],
)
def test_keys_have_their_signature(key: str, sharps: int):
    score = tune("CDEF|", f"L:1/4\nK:{key}")
    assert score.key.fifths == sharps
    assert not score.warnings


def test_a_key_takes_further_accidentals():
    assert tune("C|", "K:D =c").key == Key("D", "major", (("C", 0),))
    assert pitches("FC|", "L:1/4\nK:D =c") == [66, 60]


def test_an_explicit_key_has_only_what_it_names():
    assert pitches("FBC|", "L:1/4\nK:D exp _b ^c") == [65, 70, 61]


def test_a_clef_alone_keeps_the_key():
    assert pitches("F|[K:bass]F|", "L:1/4\nK:D") == [66, 66]
    assert tune("F|", "L:1/4\nK:Am clef=bass").key == Key("A", "minor", properties="clef=bass")


@pytest.mark.parametrize(
    ("properties", "shift"), [("clef=treble-8", -12), ("transpose=-2", -2), ("octave=1", 12), ("bass", 0)]
)
def test_a_voice_can_sound_elsewhere_than_it_is_written(properties: str, shift: int):
    assert tune("C|", f"V:1 {properties}\nK:C").parts[0].transpose == shift
    assert tune("C|", f"K:C {properties}").parts[0].transpose == shift


def test_fields_are_kept_in_order():
    score = read_abc(
        "X:7\nT:Caf\\'e\nT:Second &amp; last\nR:jig\n%%pagewidth 20cm\nM:6/8\nL:1/8\nS:2\nB:9\nE:4\nK:G\nG|"
    )
    assert score.fields[:4] == (("X", "7"), ("T", "Café"), ("T", "Second & last"), ("R", "jig"))
    assert score.fields[4:] == (("%%", "pagewidth 20cm"), ("S", "2"), ("B", "9"), ("E", "4"))
    assert score.title == "Café"


@pytest.mark.parametrize(
    ("text", "meter"),
    [("6/8", Meter("6/8", Fraction(3), Fraction(3, 2))), ("C", Meter("C", Fraction(4))), ("none", Meter("none", None))]
    + [("C|", Meter("C|", Fraction(4), Fraction(2))), ("2+2+3/8", Meter("2+2+3/8", Fraction(7, 2), Fraction(1, 2)))]
    + [
        ("(2+3)/8", Meter("(2+3)/8", Fraction(5, 2), Fraction(1, 2))),
        ("3/8", Meter("3/8", Fraction(3, 2), Fraction(1, 2))),
    ]
    + [("", Meter("none", None))],
)
def test_meters(text: str, meter: Meter):
    assert tune("C|", f"M:{text}\nK:C").meter == meter


@pytest.mark.parametrize(
    ("text", "tempo"),
    [("1/4=120", Tempo(Fraction(120))), ("3/8 = 60.5", Tempo(Fraction(121, 2), Fraction(3, 2)))]
    + [
        ('"Allegro" 1/4=120', Tempo(Fraction(120), text="Allegro")),
        ('1/2=60 "Lento"', Tempo(Fraction(60), Fraction(2), "Lento")),
    ]
    + [('"Andante"', Tempo(text="Andante")), ("1/4 3/8 1/4 3/8=40", Tempo(Fraction(40), Fraction(5)))]
    + [("120", Tempo(Fraction(120), Fraction(1, 2))), ("C3=80", Tempo(Fraction(80), Fraction(3, 2)))],
)
def test_tempi(text: str, tempo: Tempo):
    assert tune("C|", f"Q:{text}\nL:1/8\nK:C").tempo == tempo


def test_a_missing_number_title_or_key_is_no_obstacle():
    assert read_abc("M:3/4\nL:1/4\nCDE|").parts[0].bars[0].length == 3
    assert read_abc("CDE|").meter == Meter("none", None)


def test_control_lines_of_a_model_are_tolerated():
    score = read_abc('S:2\nB:5\nE:5\nB:6\nL:1/8\nM:3/4\nK:D\n de |:"D" f3 g a{gf} | e2 d4 :|\n')
    assert len(score.parts[0].bars) == 3
    assert score.warnings == ()


def test_a_program_is_set_by_a_directive():
    assert tune("C|", "%%MIDI program 73\nK:C").parts[0].program == 73
    assert tune("%%MIDI program 1 40\nC|").parts[0].program == 40
    parts = tune("V:1\nC|\nV:2\nD|", "V:1\n%%MIDI program 1\nV:2\n%%MIDI program 2\nK:C").parts
    assert [part.program for part in parts] == [1, 2]


@pytest.mark.parametrize("lines", ["T:one\n+:two", "T:one\\\nT:two", "H:one\ntwo"])
def test_a_field_can_go_on_in_the_next_line(lines: str):
    assert tune("C|", f"{lines}\nK:C").header(lines[0]) == "one two"
