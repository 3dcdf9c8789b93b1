"""What may follow in ABC: only what can still become a tune whose bars add up and whose signs are closed."""

from fractions import Fraction

import numpy as np
import pytest

from rwkv_music_tokenizers.abc_grammar import AbcGrammar
from rwkv_music_tokenizers.grammar import Ending, Limits

HEADER = "M:4/4\nL:1/8\nK:C\n"
EOS = 3


def after(text: str, ending: Ending = Ending.MAY, limits: Limits | None = None) -> AbcGrammar:
    """The grammar after a text, every character of which must have been allowed."""
    grammar = AbcGrammar("", limits or Limits())
    for place, sign in enumerate(text):
        assert grammar.allowed()[ord(sign)], f"{sign!r} may not follow {text[:place]!r}"
        grammar.follow(ord(sign))
    grammar.ending = ending
    return grammar


def signs(grammar: AbcGrammar) -> set[str]:
    """The characters that may follow; the end token is "\\3"."""
    return {chr(token) for token in np.flatnonzero(grammar.allowed())}


def follow(music: str, header: str = HEADER, ending: Ending = Ending.MAY) -> set[str]:
    """The characters that may follow some music."""
    return signs(after(header + music, ending))


@pytest.mark.parametrize(
    "music",
    [
        "C2D2 E2F2|G4 G4|\nA,,3B1/2c'3/4d/8 e//f/ z2x/|",
        '"Am"A4 "^slowly""E7"e4|"G"[GBd]2[Gd]6|',
        "(3CDE F2 (3:2:2G2A B<<c|d8|",
        "{cd}e4 {/f}g4|~A4 .B.c Tdue|!trill!a8|",
        "(AB cd) (e(f g)a|[A-c-]4[Ac]4|A8-|A8|",
        "|:C8|D8|1 E8:|2 F8||G8|]\nA8|]\n",
        "C2|D8|E6:|\n|:F2|G8|A6::B8|c8:|\n",
        "C8|[K:G]D8|[M:3/4]E6|[L:1/4]F3|\nM:6/8\nG3|Z|Z2|",
        "C8|D8|[1 E8:|[2 F8||\n||\nG8|]\n",
        " C8 | D8 |\n E8 :| F8 |]\n",
    ],
)
def test_what_a_composer_writes_may_follow(music: str):
    after(HEADER + music)


@pytest.mark.parametrize(
    "header",
    [
        "S:2\nB:5\nE:7\nB:12\nL:1/8\nM:6/8\nK:Gm\n",
        "S:1\nB:8\nM:3/4\nL:1/16\nK:F#dor\n",
        "R:slip jig\nM:9/8\nL:1/8\nK:Bb\n",
        "X:1\nT:The Geese in the Bog\nC:Trad.\nM:C|\nQ:1/4=120\nL:1/8\nK:none\n",
        "M:12/8\nK:HP\n",
    ],
)
def test_a_header_may_be_written_from_nothing(header: str):
    after(header + "C")


def test_the_key_ends_a_header_and_needs_a_meter_before_it():
    assert "K" not in signs(after("L:1/8\n"))
    assert "K" in signs(after("L:1/8\nM:4/4\n"))
    assert "M" not in signs(after("M:4/4\n"))


def test_values_of_fields_are_legal():
    assert signs(after("M:6/")) == set("12348")
    assert signs(after("L:1/")) == set("123468")
    assert "\n" in signs(after("M:4/4\nK:Ab"))
    assert signs(after("M:4/4\nK:")) >= set("ABCDEFG")
    # G# major has eight sharps.
    assert "\n" not in signs(after("M:4/4\nK:G#"))


def test_control_codes_come_in_their_order():
    assert signs(after("S:2\n")) == {"B"}
    assert signs(after("S:2\nB:8\n")) == {"E"}
    assert signs(after("S:3\nB:8\nE:4\nB:8\nE:4\n")) == {"E"}
    assert "M" in signs(after("S:2\nB:8\nE:4\nB:8\n"))


def test_a_length_may_grow_as_long_as_it_fits_the_bar():
    assert "3" in follow("C4D")
    assert "5" in follow("C4D"), "5/2 fits"
    assert "|" not in follow("C4D5")
    assert "/" in follow("C4D5")
    assert "5" in follow("C4D1"), "15/4 fits"
    assert "|" in follow("C4D4") and "E" not in follow("C4D4")


def test_a_bar_that_lacks_something_has_no_line_inside_a_section():
    assert "|" in follow("C8"), "full"
    assert "|" in follow("C2"), "an upbeat"
    grammar = after(HEADER + "C8|D6|")
    assert signs(grammar) == {"]", "|", ":"}, "the section ends there"


def test_a_tuplet_is_completed_inside_its_bar():
    assert "|" not in follow("C6(3DE")
    assert "|" in follow("C6(3DEF")
    assert "(" in follow("C7D/"), "(3E/8F/8G/8 has room"
    assert "2" not in follow("C6(3D2")
    assert "\n" not in follow("(3DE")


def test_a_broken_rhythm_has_its_second_note():
    assert ">" not in follow("C7D")
    assert ">" in follow("C6D")
    assert signs(after(HEADER + "C6D>")) & set("|z ") == set("z ")
    assert "|" in follow("C6D>E")
    assert ">" not in follow("C6D>E"), "nobody knows which pair is meant"


def test_a_tie_leads_to_the_same_note():
    assert signs(after(HEADER + "C4D-")) & set("CDEz[") == set("D[")
    assert "E" not in follow("D8-|")
    assert "]" not in follow("D4[EG]2[EG]2-|[E")
    assert "]" in follow("D4[EG]2[EG]2-|[EG")


def test_the_lowest_note_is_tied_to_itself_alone():
    assert signs(after(HEADER + "[C,,,,-]")) & set("CDE") == {"C"}
    assert "2" not in follow("[C,,,,-](C"), "C, has to become C,,,,"
    assert "," in follow("[C,,,,-](C")


def test_a_stopped_chord_has_no_ties_inside():
    assert "-" in follow("[CE")
    assert "-" not in follow(".[CE") and "-" not in follow("!breath![CE") and "-" not in follow("H[CE")


def test_a_chain_of_tied_chords_keeps_the_order_of_its_notes():
    assert "-" in follow("[CE-][EG") and "-" not in follow("[CE-][GE"), "tied on only where it came first"
    assert "-" in follow("[CE-][EG]") and "-" not in follow("[CE-][GE]")
    assert "]" in follow("[CE-][GE"), "any order ends a tie"
    chain = "[CE-][E-G-]"
    assert signs(after(HEADER + chain + "[")) & set("CDEFG") == {"E"}
    assert signs(after(HEADER + chain + "[E")) & set("CDEFG]") == {"G"}
    assert "]" in follow(chain + "[EG")
    assert signs(after(HEADER + "D-[D-F-][")) & set("DF") == {"D"}
    assert signs(after(HEADER + "[D-F-][")) & set("DF") == {"D", "F"}, "the first tie is no chain"


def test_only_chords_of_a_unit_have_a_number():
    assert {"2", "/"} <= follow("[CE]") and {"2", "/"} <= follow("[C1E1]")
    assert not follow("[C2E2]") & set("23/") and "F" in follow("[C2E2]")


def test_a_roll_of_three_units_is_not_bent():
    assert ">" not in follow("~C3") and "<" not in follow("~C3")
    assert ">" in follow("~C") and ">" in follow("~C3/2") and ">" in follow("TC3") and ">" in follow("C3")
    assert "-" in follow("~C3")


def test_a_chord_symbol_between_two_bent_notes_takes_the_roll_from_the_second():
    assert "~" in follow("C>") and "~" in follow('C"G"') and "T" in follow('C>"G"')
    assert "~" not in follow('C>"G"')


def test_what_is_played_to_chord_symbols_ends_with_the_piece():
    assert "\3" in follow("C/|C8|C4D3E/|]\n"), "no chord symbols"
    assert "\3" in follow('C|"G"C8|C4D3|]\n') and "\3" not in follow('C/|"G"C8|C4D3E/|]\n')
    assert "\3" not in follow('"G"C/| ||\n'), "an upbeat that is closed at once"
    assert "\3" in follow('C/|"G"C8|C4D3E/|]\nF8|]\n'), "the next bar mends it"
    assert not follow('C/|"G"C8|C4D3E/', ending=Ending.MUST) & set("|:")
    five = "M:5/4\nL:1/8\nK:C\n"
    assert "\3" in follow('C2|"G"C9D|C8|]\n', five), "it plays quarters there"
    assert "\3" not in follow('C|"G"C9D|C8D|]\n', five)


def test_chord_symbols_stand_in_meters_of_whole_eighths():
    assert "G" in follow('"') and "G" not in follow('"', "M:5/16\nL:1/16\nK:C\n")
    assert "^" in follow('"', "M:5/16\nL:1/16\nK:C\n"), "words may"
    assert "6" in follow("C8|[M:5/1") and "6" not in follow('"G"C8|[M:5/1')
    assert "6" in follow('"G"C8|[M:8/1') and "8" in follow('"G"C8|[M:5/')


def test_quotes_graces_chords_and_fields_are_closed():
    assert '"' in follow('"G7') and "|" not in follow('"G7') and "\n" not in follow('"^text')
    assert "}" not in follow("{") and "}" in follow("{c") and "|" not in follow("{c}")
    assert "]" not in follow("[") and "]" in follow("[CE") and "|" not in follow("[CE")
    assert "]" in follow("C8|[K:D") and "]" not in follow("C8|[K:")
    assert ")" not in follow("C2") and ")" in follow("(C2")


def test_a_field_stands_where_a_bar_begins():
    assert "[" in follow("C8|")
    assert "K" in follow("C8|[") and "K" not in follow("C4[")
    assert ":" in follow("C8|\nM") and "M" in follow("C4"), "in a bar M is a mordent"


def test_repeats_are_balanced():
    assert "]" not in follow("|:C8|")
    assert ":" in follow("C8"), "back to the beginning"
    assert ":" not in follow("|:C8|D8|"), "no repeat begins in a repeat"
    assert "\3" not in follow("|:C8|\n")


def test_a_first_ending_has_a_second():
    assert "1" in follow("|:C8|") and "1" not in follow("|:")
    assert signs(after(HEADER + "|:C8|D8|1 E8:|")) == set(" 2[")
    assert "]" not in follow("|:C8|D8|1 E8|")
    assert "]" in follow("|:C8|D8|1 E8:|2 F8|")


def test_notes_stay_within_midi():
    assert "," not in follow("C,,,,") and "'" not in follow("c'''")
    assert "_" not in signs(after(HEADER + "C4__"))


def test_the_model_ends_a_piece_only_where_it_is_complete():
    assert "\3" in follow("C8|]\n") and "\3" in follow("|:C8:|\n") and "\3" in follow("C8||\n")
    assert "\3" not in follow("C8|]") and "\3" not in follow("C8|\n")


def test_a_piece_that_goes_on_has_no_end():
    assert "]" not in follow("C8|", ending=Ending.NEVER) and "]" in follow("C8|")
    assert "\3" not in follow("C8||\n", ending=Ending.NEVER)


def test_a_piece_that_must_end_fills_its_bar_and_closes():
    assert not follow("C4", ending=Ending.MUST) & set('|:" \n\3-(')
    assert follow("C8", ending=Ending.MUST) == set("|:")
    assert follow("C8|", ending=Ending.MUST) == {"]"}
    assert follow("C8|]", ending=Ending.MUST) == {"\n"}
    assert follow("C8|]\n", ending=Ending.MUST) == {"\3"}
    assert follow("|:C8|D8", ending=Ending.MUST) == {":"}
    assert follow("|:C8|1 D8:|", ending=Ending.MUST) == {"2"}


def test_a_piece_that_must_end_may_leave_out_what_its_upbeat_holds():
    assert "|" in follow("C2|D8|E6", ending=Ending.MUST)
    assert "|" not in follow("C2|D8|E4", ending=Ending.MUST)


def test_after_the_end_nothing_follows():
    grammar = after(HEADER + "C8|]\n")
    grammar.follow(EOS)
    assert grammar.ended and not grammar.allowed().any()


def test_a_bar_that_a_prompt_began_is_completed():
    grammar = AbcGrammar(HEADER + "C2D2")
    assert "2" not in signs(grammar), "the last note is complete"
    assert "|" in signs(grammar), "an upbeat"
    assert "|" not in signs(AbcGrammar(HEADER + "C8|D4(3E"))


def test_a_prompt_that_overfilled_its_bar_can_only_end_it():
    grammar = AbcGrammar(HEADER + "C8|D8E4")
    assert signs(grammar) & set("CDEz|") == {"|"}
    for sign in "|F":
        assert grammar.allowed()[ord(sign)]
        grammar.follow(ord(sign))
    assert "8" in signs(grammar)


def test_lengths_off_the_grid_are_made_up_for():
    grammar = AbcGrammar(HEADER + "C8|D4E2F2/3G2/3")
    for sign in "A2/3|":
        assert grammar.allowed()[ord(sign)], sign
        grammar.follow(ord(sign))


def test_a_prompt_may_say_what_no_model_writes():
    prompt = (
        "X:1\nT:Test\nV:1 clef=bass\n%%MIDI program 40\n"
        + HEADER
        + "I:linebreak $\n+plus+C4 y D4 |$ % remark\nw:la la\n"
    )
    grammar = AbcGrammar(prompt)
    for sign in "E8|":
        assert grammar.allowed()[ord(sign)], sign
        grammar.follow(ord(sign))


def test_followed_text_that_broke_the_rules_is_left_behind():
    grammar = AbcGrammar()
    for sign in HEADER + "C9z|]|]|&&D":
        grammar.follow(ord(sign))
    assert grammar.allowed().any()
    for sign in "8|E8|]\n":
        assert grammar.allowed()[ord(sign)], sign
        grammar.follow(ord(sign))


def test_limits_hold_in_the_key_and_with_accidentals():
    d_major = Limits(lowest=60, highest=76, classes=frozenset({2, 4, 6, 7, 9, 11, 1}))
    grammar = after("M:4/4\nL:1/8\nK:D\n", limits=d_major)
    assert signs(grammar) >= set("DEFGABcde") and not signs(grammar) & set("fgab")
    assert "C" in signs(grammar), "C sharp, 61"
    c_major = after(HEADER, limits=d_major)
    assert not signs(c_major) & set("FCc") and "^" in signs(c_major)
    assert signs(after(HEADER + "^", limits=d_major)) & set("ABCDEFG") == set("CF")
    assert "F" in signs(after(HEADER + "^F", limits=d_major)), "the sharp holds for the bar"
    assert "F" not in signs(after(HEADER + "^F8|", limits=d_major))


def test_polyphony_bounds_chords():
    assert "[" not in signs(after(HEADER + "C", limits=Limits(polyphony=1)))
    assert signs(after(HEADER + "[CE", limits=Limits(polyphony=2))) & set("GA]") == {"]"}


def test_bars_and_quarters_are_counted_from_where_the_grammar_began():
    grammar = AbcGrammar(HEADER + "C2|D4")
    for sign in "E4|F8|G6|]":
        grammar.follow(ord(sign))
    assert grammar.quarters == Fraction(9)
    # Half of the first bar, one, and one with the upbeat.
    assert grammar.bars == Fraction(5, 2)


def test_a_bar_has_just_ended_until_something_follows():
    assert after(HEADER + "C8|").at_bar and after(HEADER + "C8| \n").at_bar
    assert not after(HEADER).at_bar and not after(HEADER + "C8|D").at_bar


def test_a_clone_goes_its_own_way():
    grammar = after(HEADER + "C4")
    twin = grammar.clone()
    for sign in "D4|":
        twin.follow(ord(sign))
    assert twin.bars == 1 and grammar.bars == 0 and "E" in signs(grammar)


def test_ids_beyond_the_vocabulary_are_refused():
    with pytest.raises(ValueError, match="0..127"):
        AbcGrammar().follow(128)


@pytest.mark.parametrize(
    "prompt",
    [
        "S:99999999999\nM:1000/1\nL:1/1000\nK:C\n(64:63:64C1024D",
        "M:4/4\nL:1000/1\nK:C\nC/512(9:7:8D3/7>>>>>",
        'M:997/1000\nL:1/997\nK:C\n"' + "x" * 3000,
        "M:4/4\nK:C\n" + "[" * 2000 + "{(" * 2000 + "&" * 50,
        "K:" + "^" * 3000,
    ],
)
def test_no_prompt_is_too_odd_to_be_brought_to_an_end(prompt: str):
    grammar = AbcGrammar(prompt)
    grammar.ending = Ending.MUST
    for _character in range(400):
        if grammar.ended:
            break
        tokens = np.flatnonzero(grammar.allowed())
        assert len(tokens), prompt[:40]
        grammar.follow(int(tokens[-1]))
    assert grammar.ended
