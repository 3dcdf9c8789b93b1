"""Prompts: what stays written, what the model hears, and where a closed tune is opened again."""

import pytest

from rwkv_music.errors import UsageError, UserError
from rwkv_music.opening import Header, open_tune

HEADER = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:G\n"
HEARD = "M:4/4\nL:1/8\nK:G\n"


def heard(music: str) -> str:
    return open_tune(HEADER + music).heard.removeprefix(HEARD)


def written(music: str) -> str:
    return open_tune(HEADER + music).written.removeprefix(HEADER)


def test_a_header_alone_is_heard_without_number_and_title():
    opening = open_tune("X:7\nT:A Tune\nC:Somebody\nR:Jig\nM:6/8\nL:1/8\nK:E minor\n")
    assert opening.heard == "R:jig\nM:6/8\nL:1/8\nK:Em\n"
    assert opening.written == "X:7\nT:A Tune\nC:Somebody\nR:Jig\nM:6/8\nL:1/8\nK:E minor\n"


@pytest.mark.parametrize(
    ("closed", "reopened"),
    [
        ("GABc d4|]\n", "GABc d4||\n"),
        ("GABc d4||\n", "GABc d4||\n"),
        ("GABc d4:|\n", "GABc d4:|\n"),
        ("|:GABc d4:|]\n\n", "|:GABc d4:|]\n"),
    ],
)
def test_a_whole_tune_is_opened_again_after_its_last_section(closed, reopened):
    assert written(closed) == reopened


def test_the_model_hears_a_section_end_and_a_new_line():
    assert heard("GABc d4|]\n") == "GABc d4||\n"
    assert heard("GABc d4::\n") == "GABc d4:|\n|:"


@pytest.mark.parametrize("partial", ["GABc d4|", "GABc|[1 d8:|", "GABc d4|\\", "GABc dB"])
def test_a_partial_tune_goes_on_in_its_line(partial):
    assert heard(partial + "\n") == partial.rstrip("\\")


def test_a_second_ending_follows_the_first_in_its_line():
    assert not heard("|:GABc d4|1 G8:|\n").endswith("\n")
    assert heard("|:GABc d4|1 G8:|2 G4 G4:|\n").endswith("\n")


def test_only_a_prompt_that_ends_inside_a_bar_has_a_note_to_protect():
    assert open_tune(HEADER + "GABc dB\n").inside
    assert open_tune(HEADER + "GABc d2 (3\n").inside
    assert not open_tune(HEADER + "GABc d4|\n").inside
    assert not open_tune(HEADER).inside


def test_ornaments_words_and_remarks_are_written_but_not_heard():
    music = '{g}G!trill!A .B(c "^slow"d)"G7"e|% a remark\nw:la la\nf2 ~g2|\n'
    assert written(music) == music.rstrip()
    assert heard(music) == 'GA Bc d"G7"e|\nf2 g2|'


def test_music_after_a_line_of_words_begins_a_new_line():
    assert written("GABc d4|\nw:la la\n") == "GABc d4|\nw:la la\n"


def test_lengths_in_quarters_are_heard_in_eighths_and_go_on_so():
    opening = open_tune("X:1\nM:4/4\nL:1/4\nK:G\nGA/B/ c>d z|[ce]2 (3d/e/f/ g3/2a/|\n")
    assert opening.heard == "M:4/4\nL:1/8\nK:G\nG2AB c2>d2 z2|[c2e2]2 (3def g3a|"
    assert opening.written.endswith("g3/2a/|[L:1/8]")


def test_a_key_that_changes_is_heard_in_its_place():
    assert heard("GABc d4|\nK:D major\nfedc d4|\n") == "GABc d4|\n[K:D]fedc d4|"


def test_a_tune_without_a_meter_is_heard_in_that_of_its_bars():
    assert open_tune("X:1\nL:1/8\nK:G\nG2 B2 d2|g2 d2 B2|G6|\n").heard.startswith("M:3/4\n")


def test_notes_alone_get_the_header_that_is_asked_for():
    opening = open_tune("GABc dedB|", Header(key="D", meter="C|", rhythm="reel"))
    assert opening.written == "X:1\nR:reel\nM:C|\nK:D\nGABc dedB|"
    assert opening.heard == "R:reel\nM:2/2\nL:1/8\nK:D\nGABc dedB|"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (Header(), "M:4/4\nL:1/8\nK:G\n"),
        (Header(rhythm="slip jig"), "R:slip jig\nM:9/8\nL:1/8\nK:G\n"),
        (Header(rhythm="polka", key="A"), "R:polka\nM:2/4\nL:1/16\nK:A\n"),
        (Header(meter="3/4", unit="1/16", key="Ador"), "M:3/4\nL:1/16\nK:Ador\n"),
    ],
)
def test_a_header_from_options_is_filled_in_by_the_rhythm(header, expected):
    assert open_tune("", header).heard == expected


def test_the_complete_prompt_opens_the_same_tune():
    opening = open_tune("GABc dedB|", Header(key="D", title="Mine"))
    assert open_tune(opening.prompt) == opening


def test_what_an_output_remembers_is_no_part_of_the_next_prompt():
    assert "rwkv-music" not in open_tune(HEADER + 'GABc d4|\n% rwkv-music {"model": "abc-folk"}\n').prompt


def test_a_tune_that_has_no_music_yet_is_written_in_the_unit_that_is_heard():
    for opening in (open_tune("", Header(unit="1/4")), open_tune("X:1\nM:4/4\nL:1/4 % long\nK:G\n")):
        assert opening.heard == "M:4/4\nL:1/8\nK:G\n"
        assert "L:1/8" in opening.written and "L:1/4" not in opening.written
        assert open_tune(opening.prompt) == opening
    assert open_tune("X:1\nM:4/4\nL:1/8\nK:G\n[L:1/2]").written.endswith("K:G\n[L:1/2]\n[L:1/8]")
    assert open_tune("X:1\nM:3/4\nL:1/16\nK:G\n").written == "X:1\nM:3/4\nL:1/16\nK:G\n"


@pytest.mark.parametrize(
    "music",
    ['"G"GABc dedB|', "(3GAB c2|", "{a}gfe|", "!f!G8|", "(AB)c|", "~G8|", ".G8|", "[M:6/8]GAB|", "  GABc|", "y2 G|"],
)
def test_a_key_stands_in_a_line_of_its_own_before_whatever_the_music_begins_with(music):
    assert open_tune(music).prompt == f"X:1\nK:C\n{music}\n"
    assert open_tune("T:Mine\n" + music, Header(key="D")).prompt == f"X:1\nT:Mine\nK:D\n{music}\n"


def test_a_field_that_is_none_is_refused_with_the_place():
    with pytest.raises(UserError, match="line 2.*K: 'zzz' is not a key"):
        open_tune("X:1\nK:zzz\nGABc|\n")
    with pytest.raises(UserError, match="line 6.*M: a bar of '1000/1' is shorter than 1/8 or longer than 32/4"):
        open_tune(HEADER + "[M:1000/1]GABc|\n")
    assert open_tune("X:1\nM:none\nK:\nGABc|\n[K:bass]GABc|\n").prompt


def test_a_meter_has_bars_that_can_be_played():
    for meter in ("1000/1", "33/4", "1/16"):
        with pytest.raises(UsageError, match="--meter: a bar of"):
            Header(meter=meter)
    assert Header(meter="32/4").meter and Header(meter="1/8").meter


@pytest.mark.parametrize(
    ("header", "option"),
    [({"key": "H"}, "key"), ({"meter": "lots"}, "meter"), ({"unit": "0"}, "unit"), ({"title": "a\nb"}, "title")],
)
def test_an_option_that_is_no_field_is_refused_by_name(header, option):
    with pytest.raises(UsageError, match=f"--{option}"):
        Header(**header)


def test_an_option_does_not_contradict_the_prompt():
    with pytest.raises(UserError, match="says K:G already: leave --key out"):
        open_tune(HEADER, Header(key="D"))


def test_several_voices_are_refused_with_the_place():
    with pytest.raises(UserError, match="line 7.*several voices"):
        open_tune(HEADER + "[V:1]GABc|\n[V:2]G,4|\n")


def test_a_prompt_has_a_limit():
    with pytest.raises(UserError, match="at most 16,384"):
        open_tune(HEADER + "GABc d4|" * 10_000)


@pytest.mark.parametrize("unit", ["1/4", "1/2", "1/32"])
def test_a_header_alone_says_the_unit_that_the_model_counts_in(unit):
    opening = open_tune(f"X:1\nM:3/4\nL:{unit}\nK:D\n")
    units = [line for text in (opening.written, opening.heard) for line in text.splitlines() if line.startswith("L:")]
    assert len(units) == 2 and units[0] == units[1]
