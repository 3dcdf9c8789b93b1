"""Scores as MusicXML and as a picture."""

import json
import pathlib
import sys
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rwkv_music.render import sheet
from rwkv_music.render.engrave import joined
from rwkv_music.render.errors import RenderError
from rwkv_music.render.sheet import engraved, musicxml, svg
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Meter, Score

FEATURES = json.loads((pathlib.Path(__file__).parents[2] / "data" / "tokens" / "abc_features.json").read_text())
HEADER = "X:1\nT:Tune\nC:Trad.\nM:4/4\nL:1/4\nK:C\n"


def xml(music: str, header: str = HEADER) -> ElementTree.Element:
    return ElementTree.fromstring(musicxml(read_abc(header + music + "\n")))


def texts(root: ElementTree.Element, path: str) -> list[str | None]:
    return [found.text for found in root.findall(path)]


def check_lengths(score: Score) -> None:
    """Every measure of the sheet is as long as its bar."""
    root = ElementTree.fromstring(musicxml(score))
    for part, written in zip(root.findall("part"), score.parts, strict=True):
        divisions = int(part.findtext("measure/attributes/divisions") or 0)
        for measure, bar in zip(part.findall("measure"), written.bars, strict=True):
            if bar.overlays:
                continue
            timed = [note for note in measure.findall("note") if note.find("grace") is None]
            lengths = [int(note.findtext("duration") or 0) for note in timed if note.find("chord") is None]
            assert abs(Fraction(sum(lengths), divisions) - bar.longest) < Fraction(1, 64)


@pytest.mark.parametrize("case", FEATURES, ids=lambda case: case["case"])
def test_every_bar_is_as_long_on_the_sheet(case: dict):
    check_lengths(read_abc(case["abc"]))


def test_title_composer_and_remarks_are_told():
    root = ElementTree.fromstring(musicxml(read_abc(HEADER + "C|\n"), remarks=["seed 7 <&>"]))
    assert root.findtext("work/work-title") == "Tune"
    assert root.findtext("identification/creator[@type='composer']") == "Trad."
    assert root.findtext("identification/miscellaneous/miscellaneous-field[@name='remark']") == "seed 7 <&>"


def test_the_same_score_makes_the_same_file():
    score = read_abc(HEADER + 'V:1\n"C"CD|\nV:2\nE,2|\n')
    assert musicxml(score) == musicxml(score)
    assert "encoding-date" not in musicxml(score)


def test_meter_key_and_clef_changes_stand_in_their_measures():
    root = xml("C4|[M:3/4][K:D clef=bass]D,3|]")
    assert texts(root, ".//time/beats") == ["4", "3"]
    assert texts(root, ".//key/fifths") == ["0", "2"]
    assert texts(root, ".//clef/sign") == ["G", "F"]


def test_a_pickup_is_measure_0():
    measures = xml("C|DEFG|CDEF|]").findall(".//measure")
    assert [(measure.get("number"), measure.get("implicit")) for measure in measures] == [
        ("0", "yes"),
        ("1", "no"),
        ("2", "no"),
    ]


def test_a_measure_that_a_repeat_cuts_in_two_counts_once():
    measures = xml("C|DEFG|CDE:|:F|CDEF|]").findall(".//measure")
    assert [measure.get("number") for measure in measures] == ["0", "1", "2", "2", "3"]


def test_repeats_and_endings_are_written_not_played_out():
    root = xml("|:CDEF|1GGGG:|2AAAA|]")
    assert len(root.findall(".//measure")) == 3
    assert [found.get("direction") for found in root.findall(".//repeat")] == ["forward", "backward"]
    assert [(e.get("number"), e.get("type")) for e in root.findall(".//ending")] == [
        ("1", "start"),
        ("1", "stop"),
        ("2", "start"),
        ("2", "stop"),
    ]


def test_only_accidentals_that_key_and_bar_do_not_say_are_printed():
    root = xml("F^FF=F|F^f_B=B|]", HEADER.replace("K:C", "K:G"))
    assert [note.findtext("accidental") for note in root.findall(".//note")] == [
        None,
        None,
        None,
        "natural",
        None,
        None,
        "flat",
        "natural",
    ]
    assert texts(root, ".//alter")[:4] == ["1", "1", "1", "0"]


def test_an_accidental_in_another_octave_is_told_again():
    root = xml("^F f =f|]")
    assert [note.findtext("accidental") for note in root.findall(".//note")] == ["sharp", "sharp", "natural"]


def test_a_tied_note_needs_no_second_accidental():
    notes = xml("^F4-|F4|]").findall(".//note")
    assert [note.findtext("accidental") for note in notes] == ["sharp", None]
    assert [note.find("tie").get("type") for note in notes] == ["start", "stop"]  # pyright: ignore[reportOptionalMemberAccess]


def test_highland_pipes_show_no_signature_and_no_accidentals():
    root = xml("FcFc|]", HEADER.replace("K:C", "K:HP"))
    assert texts(root, ".//key/fifths") == ["0"]
    assert root.findall(".//accidental") == []
    assert texts(root, ".//alter") == ["1"] * 4


def test_lengths_that_no_single_note_has_are_tied():
    notes = xml("C5|]").findall(".//note")
    assert [note.findtext("type") for note in notes] == ["whole", "quarter"]
    assert len(notes[0].findall("tie")) == 1


def test_a_triplet_has_its_ratio_and_its_ends():
    root = xml("(3CDE F2|]")
    assert texts(root, ".//time-modification/actual-notes") == ["3"] * 3
    assert [found.get("type") for found in root.findall(".//tuplet")] == ["start", "stop"]


def test_grace_notes_take_no_time():
    notes = xml("{/FG}C4|]").findall(".//note")
    assert [note.find("grace") is not None for note in notes] == [True, True, False]
    assert [note.findtext("duration") is None for note in notes] == [True, True, False]


def test_chord_symbols_are_harmony_printed_as_written():
    root = xml('"G7/B"C"F#m7b5"D"Bbmaj7"E"N.C."F|]')
    assert texts(root, ".//harmony/root/root-step") == ["G", "F", "B"]
    assert texts(root, ".//harmony/root/root-alter") == ["1", "-1"]
    assert texts(root, ".//harmony/bass/bass-step") == ["B"]
    assert [kind.get("text") for kind in root.findall(".//harmony/kind")] == ["7", "m7♭5", "maj7"]
    assert texts(root, ".//harmony/kind") == ["dominant", "half-diminished", "major-seventh"]
    assert "N.C." in texts(root, ".//words")


def test_voices_are_parts_and_overlays_are_voices():
    root = xml('V:1 name="Flute"\nC4 & E,4|\nV:2 clef=bass\nC,4|')
    assert texts(root, ".//score-part/part-name") == ["Flute", None]
    assert texts(root, "part[@id='P1']//voice") == ["1", "2"]
    assert len(root.findall("part")) == 2


def test_a_brace_joins_the_staffs_that_the_score_names_and_the_tempo_stands_once():
    root = ElementTree.fromstring(
        musicxml(
            read_abc(
                "X:1\nT:Song\n%%score S {R L} {X Y} {L}\nM:4/4\nL:1/4\nQ:1/4=90\nK:C\n"
                "V:S\nCDEF|\nV:R\nEFGA|\nV:L clef=bass\nC,4|\n"
            )
        )
    )
    kinds = [(child.tag, child.get("type") or child.get("id")) for child in root.find("part-list") or ()]
    assert kinds == [
        ("score-part", "P1"),
        ("part-group", "start"),
        ("score-part", "P2"),
        ("score-part", "P3"),
        ("part-group", "stop"),
    ]
    assert texts(root, ".//part-group/group-symbol") == ["brace"]
    assert [part.get("id") for part in root.iter("part") if part.find(".//metronome") is not None] == ["P1"]


def test_many_braces_are_one():
    braces = "{R L} " * 300
    root = ElementTree.fromstring(musicxml(read_abc(f"X:1\n%%score {braces}\nK:C\nV:R\nC4|\nV:L\nC,4|\n")))
    assert texts(root, ".//part-group/group-symbol") == ["brace"]


def test_syllables_know_their_word():
    root = xml("CDEF|]\nw:one two-three four\nw:e-leven a b")
    first = [note.findall("lyric")[0] for note in root.findall(".//note")]
    assert [lyric.findtext("syllabic") for lyric in first] == ["single", "begin", "end", "single"]
    assert [lyric.findtext("text") for lyric in first] == ["one", "two", "three", "four"]
    assert {lyric.get("number") for lyric in root.findall(".//lyric")} == {"1", "2"}


def test_slurs_dynamics_and_signs_are_written():
    root = xml("!p!(C.D)TE!fermata!F|]")
    assert [slur.get("type") for slur in root.findall(".//slur")] == ["start", "stop"]
    for sign in ("dynamics/p", "staccato", "trill-mark", "fermata"):
        assert root.find(f".//{sign}") is not None, sign


def test_an_octave_clef_says_so_and_keeps_the_sound():
    root = xml("C4|]", HEADER.replace("K:C", "K:C clef=treble-8"))
    assert root.findtext(".//clef-octave-change") == "-1"
    assert texts(root, ".//octave") == ["3"]


def test_free_meter_has_no_time_signature():
    assert xml("CDEFGAB|]", HEADER.replace("M:4/4", "M:none")).findall(".//time") == []


def test_an_empty_score_and_an_endless_one_are_refused():
    with pytest.raises(RenderError, match="no music"):
        musicxml(Score((), Meter("4/4", Fraction(4)), Key()))
    with pytest.raises(RenderError, match="a sheet may have"):
        musicxml(read_abc(HEADER + "CDEF|" * 7000))


def test_control_characters_do_not_break_the_file():
    score = read_abc(HEADER.replace("Tune", "Tu\x07ne") + '"^a\x01b"C|\n')
    ElementTree.fromstring(musicxml(score))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="CDEFGABcdz|:[]()1234/-<>{}\"&~.^_= '\n", max_size=80))
def test_whatever_is_written_has_a_sheet(music: str):
    try:
        score = read_abc(HEADER + music)
        ElementTree.fromstring(musicxml(score))
    except (NotationError, RenderError):
        return
    check_lengths(score)


def test_a_picture_shows_the_whole_piece_and_keeps_the_remarks():
    score = read_abc(HEADER + '"C"CDEF|' * 60 + "\n")
    picture = svg(score, remarks=["rwkv-music {}", "<&>"])
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg")
    assert picture.count('class="measure"') == 60
    assert "<metadata>rwkv-music {}\n&lt;&amp;&gt;</metadata>" in picture
    assert "Trad." in picture


def test_pages_are_joined_one_below_the_other():
    page = '<svg width="100px" height="{}px" id="p"><g/></svg>'
    whole = ElementTree.fromstring(joined([page.format(30), page.format(40)]))
    assert (whole.get("width"), whole.get("height")) == ("100px", "70px")
    assert [inner.get("y") for inner in whole] == ["0", "30"]


def test_what_the_engraver_cannot_read_is_an_error_in_one_line():
    with pytest.raises(RenderError, match="cannot draw"):
        engraved("no music at all")


def test_an_engraver_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 30\n")
    sleeper.chmod(0o700)
    if sys.platform == "win32":
        pytest.skip("needs a shell")
    monkeypatch.setattr(sheet.sys, "executable", str(sleeper))
    with pytest.raises(RenderError, match="more than"):
        engraved("<score/>", time_limit=0.5)
