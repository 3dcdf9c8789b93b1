"""Scores as they are performed: what sounds when."""

import json
import pathlib
import time
from fractions import Fraction

import pytest

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Bar, Event, Remark
from rwkv_music_tokenizers.unfold import performed_notes, unfold

FEATURES = json.loads((pathlib.Path(__file__).parents[1] / "data" / "tokens" / "abc_features.json").read_text())


def sounds(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[tuple[float, int]]:
    return [(float(note.onset), note.pitch) for note in performed_notes(read_abc(f"X:1\n{header}\n{music}\n"))]


def lengths(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[float]:
    return [float(note.length) for note in performed_notes(read_abc(f"X:1\n{header}\n{music}\n"))]


@pytest.mark.parametrize(
    "case",
    [case for case in FEATURES if case["expected_onset_quarters_pitch"] is not None],
    ids=lambda case: case["case"],
)
def test_every_feature_sounds_as_the_standard_says(case: dict):
    heard = [[round(float(note.onset), 4), note.pitch] for note in performed_notes(read_abc(case["abc"]))]
    assert heard == case["expected_onset_quarters_pitch"]


def test_unfolding_twice_changes_nothing():
    tune = read_abc("X:1\nP:A2B\nM:4/4\nL:1/4\nK:C\nP:A\n|:CDEF|1GGGG:|2AAAA|]\nP:B\nc4!D.C.!|]\n")
    once = unfold(tune)
    assert unfold(once) == once
    assert len(once.parts[0].bars) == 5


def test_a_repeated_section_begins_in_the_key_it_is_written_in():
    tune = unfold(read_abc("X:1\nM:4/4\nL:1/4\nK:C\n|:F4|[K:G]F4:|\n"))
    third = tune.parts[0].bars[2]
    assert isinstance(third.items[0], Key)
    assert third.items[0].fifths == 0
    assert [pitch for _onset, pitch in sounds("|:F4|[K:G]F4:|")] == [65, 66, 65, 66]


def test_unfolded_bars_have_no_repeat_signs_left():
    for bar in unfold(read_abc("X:1\nM:4/4\nL:1/4\nK:C\n|:CDEF|1GGGG:|2AAAA:|\n")).bars():
        assert bar.ending == ()
        assert bar.close is not None
        assert not bar.close.ends
        assert not bar.close.starts


def test_tied_notes_are_one_note():
    assert sounds("C2-C2|-C4|D4|]") == [(0, 60), (8, 62)]
    assert lengths("C2-C2|-C4|D4|]") == [8, 4]


def test_a_tie_leads_into_both_endings():
    assert sounds("|:C4-|1C4:|2C4|]") == [(0, 60), (8, 60)]


def test_a_tie_to_another_pitch_holds_nothing():
    assert lengths("C2-D2|]") == [2, 2]


def test_tones_of_a_chord_are_tied_one_by_one():
    assert sounds("[C-E]2[CG]2|]") == [(0, 60), (0, 64), (2, 67)]


def test_voices_and_overlays_sound_together():
    assert sounds("V:1\nC4|\nV:2\nE,4|") == [(0, 52), (0, 60)]
    assert sounds("CDEF & G,4|C4|]") == [(0, 55), (0, 60), (1, 62), (2, 64), (3, 65), (4, 60)]


def test_a_voice_without_repeats_follows_the_one_that_has_them():
    assert sounds("V:1\n|:C4:|D4|\nV:2\nE,4|F,4|") == [(0, 52), (0, 60), (4, 52), (4, 60), (8, 53), (8, 62)]


def test_a_bar_that_is_too_short_does_not_push_its_voice_out_of_step():
    assert sounds("V:1\nCD|E4|\nV:2\nC,4|E,4|")[-2:] == [(4, 52), (4, 64)]


def test_whole_bar_rests_last_as_long_as_their_bars():
    assert sounds("C4|Z2|D4|]") == [(0, 60), (12, 62)]
    assert sounds("C3|Z|D3|]", "M:3/4\nL:1/4\nK:C") == [(0, 60), (6, 62)]


def test_grace_notes_take_no_time():
    assert sounds("{AB}C2D2|]") == [(0, 60), (2, 62)]


@pytest.mark.parametrize(
    ("key", "pitch"),
    [
        ("K:C transpose=-12", 48),
        ("K:C octave=1", 72),
        ("K:C clef=treble-8", 48),
        ("K:C treble+8", 72),
        ("K:C clef=bass octave=-1 transpose=2", 50),
        ("K:C clef=alto", 60),
        ("K:C transpose=9999999999", 60),
        ("K:C clef=nonsense", 60),
    ],
)
def test_clefs_and_properties_shift_what_sounds(key: str, pitch: int):
    assert sounds("C4|]", f"M:4/4\nL:1/4\n{key}") == [(0, pitch)]


def test_a_voices_own_clef_goes_before_the_keys():
    assert sounds("C4|]", "M:4/4\nL:1/4\nV:1 clef=treble\nK:C clef=treble-8\nV:1") == [(0, 60)]


def test_highland_pipes_play_f_and_c_sharp():
    assert [pitch for _onset, pitch in sounds("FcGA|]", "M:4/4\nL:1/4\nK:HP")] == [66, 73, 67, 69]


def test_da_capo_al_fine():
    assert [pitch for _onset, pitch in sounds("C4|!fine!D4|E4|!D.C.alfine!F4|]")] == [60, 62, 64, 65, 60, 62]


def test_part_labels_stay_when_the_order_is_played_out():
    labels = [
        item.text
        for bar in unfold(read_abc("X:1\nP:ABA\nM:4/4\nL:1/4\nK:C\nP:A\nC4|\nP:B\nD4|\n")).bars()
        for item in bar.items
        if isinstance(item, Remark)
    ]
    assert labels == ["A", "B", "A"]


def test_onsets_are_exact():
    notes = performed_notes(read_abc("X:1\nM:4/4\nL:1/8\nK:C\n(3CDE (5FGABc|]\n"))
    assert notes[1].onset == Fraction(1, 3)
    assert notes[4].onset == Fraction(6, 5)


@pytest.mark.parametrize(
    "abc",
    [
        "X:1\nP:((A999)999)999\nK:C\nP:A\nCDEF|\n",
        "X:1\nK:C\n|" + ":" * 9000 + "CDEF|" * 50 + ":" * 9000 + "|\n",
        "X:1\nP:A99999\nK:C\nP:A\n" + "CDEF" * 5000 + "|\n",
    ],
)
def test_a_hostile_tune_is_refused_quickly(abc: str):
    began = time.thread_time()
    try:
        unfold(read_abc(abc))
    except NotationError as error:
        assert "unfold" in str(error) or "P:" in str(error)
    assert time.thread_time() - began < 5


def test_an_empty_bar_takes_no_time():
    assert Bar(()).length == 0
    assert Event(Fraction(1)).is_rest
