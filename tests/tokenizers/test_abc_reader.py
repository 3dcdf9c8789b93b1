"""What ABC text means: pitches, lengths, bars, headers, voices and lyrics of the standard 2.1."""

import io
import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_reader import read_abc, read_tunebook
from rwkv_music_tokenizers.errors import NotationError, Place
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Annotation, Bar, Barline, Event, Meter, Remark, Score, Syllable, Tempo, Tuplet

ROOT = Path(__file__).parents[2]
FEATURES = json.loads((ROOT / "tests" / "data" / "tokens" / "abc_features.json").read_text())
# These are about the order of performance, not about reading.
PERFORMED = ("repeat", "implicit start", "endings", "pickup", "P:")
COLLECTION = ROOT.parent / "shared" / "data" / "abc" / "valid.jsonl.zst"


def tune(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> Score:
    return read_abc(f"X:1\n{header}\n{music}")


def events(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[Event]:
    return [event for bar in tune(music, header).bars() for event in bar.events]


def lengths(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[Fraction]:
    return [event.length for event in events(music, header)]


def pitches(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[int]:
    """MIDI keys of all tones in order."""
    return [tone.pitch.midi for event in events(music, header) for tone in event.tones]


def onsets(score: Score) -> list[list[float]]:
    """[onset in quarters, MIDI key] of every tone, as written, tied tones apart."""
    found = []
    for part in score.parts:
        start = Fraction(0)
        for event in (event for bar in part.bars for event in bar.events):
            found += [[round(float(start), 4), tone.pitch.midi] for tone in event.tones]
            start += event.length
    return sorted(found)


@pytest.mark.parametrize(
    "case",
    [case for case in FEATURES if case["expected_onset_quarters_pitch"] and not case["case"].startswith(PERFORMED)],
    ids=lambda case: case["case"],
)
def test_onsets_and_pitches_are_those_of_the_standard(case: dict):
    assert onsets(read_abc(case["abc"])) == case["expected_onset_quarters_pitch"]


# Pitches


def test_octave_marks():
    assert pitches("C,, C, C c c' c''|") == [36, 48, 60, 72, 84, 96]


def test_an_accidental_holds_through_the_bar_in_every_octave():
    assert pitches("^F F f2|F4|") == [66, 66, 78, 65]


def test_a_natural_takes_the_key_back_for_a_bar():
    assert pitches("F =F F2|F4|", "M:4/4\nL:1/4\nK:D") == [66, 65, 65, 66]


@pytest.mark.parametrize(("reach", "heard"), [("pitch", [66, 66, 78]), ("octave", [66, 66, 77]), ("not", [66, 65, 77])])
def test_the_reach_of_accidentals_can_be_chosen(reach: str, heard: list[int]):
    assert pitches("^F F f2|", f"M:4/4\nL:1/4\n%%propagate-accidentals {reach}\nK:C") == heard


def test_a_tie_carries_its_accidental_over_the_bar_line_but_no_further():
    first, second, third = events("^F4-|F2 F2|")
    assert first.tones[0].tied and not second.tones[0].tied
    assert [event.tones[0].pitch.alter for event in (first, second, third)] == [1, 1, 0]


def test_grace_notes_know_the_key_and_the_accidentals():
    event = events("{fc}^G {g}A2 z|", "M:4/4\nL:1/4\nK:D")
    assert [grace.tones[0].pitch.midi for grace in event[0].grace] == [78, 73]
    assert event[1].grace[0].tones[0].pitch.midi == 80


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


# Lengths


def test_note_lengths():
    assert lengths("C2 C3/2 C/ C// C/4 C3//|") == [
        2,
        Fraction(3, 2),
        Fraction(1, 2),
        *[Fraction(1, 4)] * 2,
        Fraction(3, 4),
    ]


@pytest.mark.parametrize(
    ("meter", "unit"), [("2/4", "1/16"), ("3/4", "1/8"), ("6/8", "1/8"), ("C", "1/8"), ("none", "1/8"), ("3/8", "1/16")]
)
def test_the_unit_length_follows_the_meter(meter: str, unit: str):
    assert tune("C|", f"M:{meter}\nK:C").unit == 4 * Fraction(unit)


def test_broken_rhythm_lends_and_borrows():
    assert lengths("C>D E<F G>>A B<<<c|") == [Fraction(n, 8) for n in (12, 4, 4, 12, 14, 2, 1, 15)]


def test_broken_rhythm_looks_through_ties_spaces_chords_and_grace_notes():
    assert lengths("[CE]- > [CE] A{g}>B A<{g}z|") == [Fraction(n, 2) for n in (3, 1, 3, 1, 1, 3)]


@pytest.mark.parametrize(
    ("text", "meter", "normal"),
    [("(2CD", "6/8", 3), ("(3CDE", "4/4", 2), ("(4CDEF", "6/8", 3), ("(5CDEFG", "4/4", 2), ("(5CDEFG", "6/8", 3)]
    + [("(6CDEFGA", "4/4", 2), ("(7CDEFGAB", "9/8", 3), ("(7CDEFGAB", "2/2", 2), ("(8CDEFGABc", "4/4", 3)]
    + [("(9CDEFGABcd", "12/8", 3), ("(3:4CDE", "4/4", 4), ("(3:4:CDE", "4/4", 4), ("(5::CDEFG", "6/8", 3)],
)
def test_a_tuplet_takes_the_time_of_so_many(text: str, meter: str, normal: int):
    first, *others = events(text, f"M:{meter}\nL:1/4\nK:C")
    count = len(others) + 1
    assert first.tuplet == Tuplet(count, normal, count, 0)
    assert first.length == Fraction(normal, count)
    assert [event.tuplet and event.tuplet.index for event in others] == list(range(1, count))


def test_a_tuplet_can_hold_another_number_of_events():
    assert lengths("(3:2:2 C2 D E|") == [Fraction(4, 3), Fraction(2, 3), 1]
    assert lengths("(3::4 C/D/EF G|") == [Fraction(1, 3), Fraction(1, 3), Fraction(2, 3), Fraction(2, 3), 1]


def test_a_chord_is_as_long_as_its_first_note_times_its_own_length():
    assert lengths("[C2E2G2]3 [CEG]/ [C3/2E]|") == [6, Fraction(1, 2), Fraction(3, 2)]


def test_ties_inside_a_chord_belong_to_single_tones():
    (chord, _) = events("[C-EG-]2 [CEG]2|")
    assert [tone.tied for tone in chord.tones] == [True, False, True]
    assert all(tone.tied for tone in events("[CEG]-[CEG]|")[0].tones)


def test_rests_seen_and_unseen():
    seen, unseen = events("z x3|")
    assert seen.is_rest and not seen.hidden and unseen.hidden
    assert (seen.length, unseen.length) == (1, 3)


def test_a_rest_of_several_bars_becomes_bars():
    bars = list(tune("C3|Z3:|X|", "M:3/4\nL:1/4\nK:C").bars())
    assert [bar.length for bar in bars] == [3] * 5
    assert [bar.events[0].whole_bar for bar in bars] == [False, True, True, True, True]
    assert [bar.close.ends for bar in bars if bar.close] == [0, 0, 0, 1, 0]
    assert bars[4].events[0].hidden


def test_an_inline_unit_length_holds_from_there():
    assert lengths("C [L:1/8] C C|") == [1, Fraction(1, 2), Fraction(1, 2)]


def test_beams_join_short_notes_that_stand_together():
    text = 'C/D/ E/`F/ GA c/{d}"G"e/|f/'
    assert [event.beamed for event in events(text)] == [False, True, False, True, False, False, False, True, False]


# Bars


@pytest.mark.parametrize(
    ("text", "line"),
    [("|", Barline()), ("||", Barline("double")), ("|]", Barline("final")), ("[|", Barline("heavy-start"))]
    + [(".|", Barline("dotted")), ("[|]", Barline("hidden")), ("|:", Barline(starts=True)), (":|", Barline(ends=1))]
    + [("::", Barline(ends=1, starts=True)), (":|:", Barline(ends=1, starts=True)), ("::|", Barline(ends=2))]
    + [
        (":||:", Barline(ends=1, starts=True)),
        (":|]", Barline("final", ends=1)),
        (":|\n|:", Barline(ends=1, starts=True)),
    ]
    + [("||\n|:", Barline("double", starts=True)), ("| |", Barline()), ("|\n:", Barline(starts=True))],
)
def test_bar_lines(text: str, line: Barline):
    first, second = tune(f"C4{text}D4").bars()
    assert first.close == line
    assert second.close is None


def test_a_line_before_the_first_bar_opens_the_part():
    assert tune("|:C4:|").parts[0].open == Barline(starts=True)


@pytest.mark.parametrize("text", ["|1C4:|2D4|]", "|[1 C4:|[2 D4|]", "| 1 C4 :| 2 D4 |]", "[1 C4:|\n[2 D4|]"])
def test_endings(text: str):
    assert [bar.ending for bar in tune(f"|:E4{text}").bars()][-2:] == [(1,), (2,)]


def test_an_ending_names_several_passes():
    assert [bar.ending for bar in tune("|:E4|[1,3 C4:|[2,4-6 D4:|").bars()] == [(), (1, 3), (2, 4, 5, 6)]


def test_an_ending_inside_a_bar_divides_it():
    bars = list(tune("|:E3[1C:|[2D|]").bars())
    assert [bar.length for bar in bars] == [3, 1, 1]
    assert bars[0].close == Barline("hidden")


def test_overlays_sound_together_with_their_bar():
    first, second = tune("C4&E2G2&c4|D4|").bars()
    assert first.length == 4
    assert [[item.length for item in layer if isinstance(item, Event)] for layer in first.overlays] == [[2, 2], [4]]
    assert second.overlays == ()


def test_a_bar_knows_where_it_begins():
    assert [bar.place for bar in tune("C4|\n D4|").bars()] == [Place(5, 1), Place(6, 2)]


def test_changes_stand_where_they_are_made():
    _, second = tune("C4|[M:3/4]C[K:G]C[Q:1/4=90]C|").bars()
    assert second.items[0] == Meter("3/4", Fraction(3))
    assert second.items[2] == Key("G")
    assert second.items[4] == Tempo(Fraction(90), Fraction(1))


def test_parts_and_remarks_stand_in_the_music():
    score = tune("P:A\nC4|\nN:hello\nD4|", "P:AB\nM:4/4\nL:1/4\nK:C")
    assert score.header("P") == "AB"
    assert [bar.items[0] for bar in score.bars()] == [Remark("P", "A"), Remark("N", "hello")]


@pytest.mark.parametrize("cut", ["C4|D2", "C4|[D", 'C4|D2"Am', "C4|D2(3E", "C4|D2{e", "C4|D2!tril", "C4|D2[K:"])
def test_a_tune_cut_anywhere_keeps_what_it_has(cut: str):
    bars = list(tune(cut).bars())
    assert bars[0].close is not None and bars[-1].close is None
    assert bars[1].events[0].tones


# What stands at a note


def test_marks_of_a_note():
    (event,) = events('"G7""^slow"!trill!.u(C)|')
    assert event.chord == "G7"
    assert event.annotations == (Annotation("^", "slow"),)
    assert event.decorations == ("trill", "staccato", "upbow")
    assert (event.slurs_open, event.slurs_close) == (1, 1)


def test_a_second_chord_symbol_is_the_alternative():
    assert events('"G""Em"C|')[0].chord == "G(Em)"


def test_short_decorations_are_names():
    names = [event.decorations[0] for event in events(".C~CHCLCMCOCPCSCTCuCvC|")]
    assert names == [
        "staccato",
        "roll",
        "fermata",
        "accent",
        "lowermordent",
        "coda",
        "uppermordent",
        "segno",
        "trill",
        "upbow",
        "downbow",
    ]


def test_letters_can_be_given_a_meaning():
    header = 'U:k=!wedge!\nU:T=!nil!\nU:p="^+"\nL:1/4\nK:C'
    first, second, third = events("kC TC pC|", header)
    assert first.decorations == ("wedge",)
    assert second.decorations == ()
    assert third.annotations == (Annotation("^", "+"),)


def test_what_stands_before_a_bar_line_belongs_to_its_bar():
    first, second = events('C4 "^end"!D.C.!|!segno!D4|')
    assert (first.annotations, first.decorations) == ((Annotation("^", "end"),), ("D.C.",))
    assert second.decorations == ("segno",)


def test_grace_notes_wait_for_their_note():
    (event,) = events("{/a>b[ce]}C|")
    assert event.slashed
    assert [grace.length for grace in event.grace] == [Fraction(3, 2), Fraction(1, 2), 1]
    assert len(event.grace[2].tones) == 2


def test_symbol_lines_put_marks_on_notes():
    first, _rest, third, fourth = events('C2 z2|D E|\ns: "^slow" | "G7" !f!')
    assert first.annotations == (Annotation("^", "slow"),)
    assert third.chord == "G7"
    assert fourth.decorations == ("f",)


# Lyrics


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


# Headers


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


# Voices


def test_voices_are_parts_in_the_order_of_their_naming():
    score = tune("[V:B]C4|\n[V:A]D4|\nV:B\nE4|", 'V:A name="One"\nV:B clef=bass\nM:4/4\nL:1/4\nK:C')
    assert [(part.name, part.properties, len(part.bars)) for part in score.parts] == [
        ("A", 'name="One"', 1),
        ("B", "clef=bass", 2),
    ]


def test_the_only_voice_needs_no_name():
    assert tune("C4|").parts[0].name == ""


def test_voices_keep_keys_and_accidentals_to_themselves():
    assert pitches("V:1\n[K:D]^G F\nV:2\nG F\nV:1\nG|", "M:4/4\nL:1/4\nK:C") == [68, 66, 68, 67, 65]


# Mistakes


@pytest.mark.parametrize(
    "music",
    ["C ? D|", "C ] D|", "(1CD|", "[CE|D|", "{ab|C|", "C99999/1|", "Z0|C|", "[]C|", "C|\nM:what\nD|", "jC|", ">C|"],
)
def test_a_mistake_is_a_warning_with_its_place(music: str):
    score = tune(music)
    assert score.warnings
    assert all(warning.place.line >= 5 for warning in score.warnings)
    assert any(event.tones for bar in score.bars() for event in bar.events)


@pytest.mark.parametrize("text", ["", "   \n", "X:1\nT:Nothing\nK:C\n", "hello \0 world", "%%x\n% y", "X:1\nK:C\n||||"])
def test_a_text_without_music_is_refused(text: str):
    with pytest.raises(NotationError):
        read_abc(text)


def test_too_long_a_text_is_refused():
    with pytest.raises(NotationError, match="signs"):
        read_abc("C" * 600_000)
    with pytest.raises(NotationError, match="at most 2000000"):
        read_abc("C" * 2_000_001)


HOSTILE = [
    "C99999999999/7|",
    "(" * 30_000 + "C",
    "[" * 30_000 + "C",
    "{" * 30_000 + "C|C",
    "&" * 30_000 + "C|" * 1000,
    "C" + ">" * 30_000 + "D",
    "C" + "-" * 30_000,
    '"^a"' * 10_000 + "C",
    '"a"' * 10_000 + "C",
    "!f!" * 10_000 + "C",
    "{c}" * 10_000 + "C",
    "Z999" * 15,
    "C" + "\nw:a" * 10_000,
    "C" * 3000 + ("\nw:" + "a " * 30) * 300,
    "K:C\n" + "+:x\n" * 10_000 + "C",
    "\nV:" + "".join(f"\nV:{n}\nC" for n in range(99)),
    "C/511C/509C/503C/499C/491C/487C/479" * 1000,
    "C\n" + "\n" * 30_000,
    "[K:C]>" * 5000 + "C",
    "C|:" * 10_000,
    "C" + "|" * 30_000,
    "[1-99,1-99,1-99" * 2000 + "C",
]


@pytest.mark.parametrize("music", HOSTILE, ids=lambda music: music[:12])
def test_hostile_music_is_read_quickly(music: str):
    assert tune(music).parts


def test_too_many_bars_or_voices_are_refused():
    with pytest.raises(NotationError, match="bars"):
        tune("Z1000|" * 21)
    with pytest.raises(NotationError, match="voices"):
        tune("".join(f"V:{n}\nC\n" for n in range(200)))


LINES = st.lists(
    st.sampled_from(
        [
            "C",
            "c'",
            "^D,",
            "z",
            "Z2",
            "[CE]2",
            "(3",
            ">",
            "<",
            "-",
            "|",
            "|:",
            ":|",
            "::",
            "|1",
            ":|2",
            "[|",
            "&",
            "{g}",
            "(",
            ")",
            '"',
            '"G"',
            "!f!",
            "[K:D]",
            "\\",
            "y",
            "`",
            "]",
            "[",
            "}",
            "~",
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=120, deadline=None)
@given(st.text(max_size=80) | LINES | LINES.map("X:1\nM:6/8\nL:1/8\nK:G\n{}".format))
def test_any_text_is_a_score_or_a_notation_error(text: str):
    try:
        score = read_abc(text)
    except NotationError:
        return
    assert all(isinstance(bar, Bar) and bar.events for bar in score.bars())


# Tunebooks


def test_a_tunebook_is_cut_into_tunes():
    text = "M:3/4\nL:1/4\n\nX:1\nT:One\nK:C\nCDE|\n\nSome words about it.\n\nX:2\nT:Two\nM:4/4\nK:G\nF4|\n"
    one, two = read_tunebook(text)
    assert (one.title, one.meter.text, two.title, two.meter.text) == ("One", "3/4", "Two", "4/4")
    assert len(one.parts[0].bars) == 1
    assert two.parts[0].bars[0].place == Place(15, 1)
    assert not one.warnings


def test_of_several_tunes_the_first_is_read_with_a_warning():
    score = read_abc("X:1\nK:C\nC|\n\nX:2\nK:C\nD|\n")
    assert len(score.parts[0].bars) == 1
    assert "2 tunes" in score.warnings[0].message


def test_a_tune_goes_on_after_an_empty_line_of_music():
    assert len(read_abc("X:1\nK:C\nC|\n\nD|\n").parts[0].bars) == 2


def test_a_tune_without_music_is_left_out_of_a_tunebook():
    (score,) = read_tunebook("X:1\nT:Empty\nK:C\n\nX:2\nK:C\nC|\n")
    assert "left out" in score.warnings[0].message


@pytest.mark.skipif(not COLLECTION.exists(), reason="needs the collection of tunes")
def test_real_tunes_are_read_without_complaint():
    zstandard = pytest.importorskip("zstandard")
    with zstandard.open(COLLECTION, "rb") as packed:
        tunes = [json.loads(line)["abc"] for line in io.TextIOWrapper(packed, encoding="utf-8")]
    warned = [score for score in map(read_abc, tunes) if score.warnings]
    assert len(warned) <= len(tunes) // 100
