"""What ABC music means: pitches and lengths of the standard 2.1, and tunes found in a text."""

import io
import json
from fractions import Fraction
from pathlib import Path

import pytest
import zstandard

from rwkv_music_tokenizers.abc_reader import read_abc, read_tunebook
from rwkv_music_tokenizers.errors import Place
from rwkv_music_tokenizers.score import Event, Score, Tuplet

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


def test_broken_rhythm_may_stand_inside_a_chord():
    assert lengths("[CE>][CE] [C<E]2 C|") == [Fraction(3, 2), Fraction(1, 2), 1, Fraction(3, 2)]


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
    with zstandard.open(COLLECTION, "rb") as packed:
        tunes = [json.loads(line)["abc"] for line in io.TextIOWrapper(packed, encoding="utf-8")]
    warned = [score for score in map(read_abc, tunes) if score.warnings]
    assert len(warned) <= len(tunes) // 100
