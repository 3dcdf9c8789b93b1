"""What ABC bodies hold: bar lines, endings, layers, voices, and the marks of a note."""

from fractions import Fraction

import pytest

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import Place
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Annotation, Barline, Event, Meter, Remark, Score, Tempo


def tune(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> Score:
    return read_abc(f"X:1\n{header}\n{music}")


def events(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[Event]:
    return [event for bar in tune(music, header).bars() for event in bar.events]


def pitches(music: str, header: str = "M:4/4\nL:1/4\nK:C") -> list[int]:
    """MIDI keys of all tones in order."""
    return [tone.pitch.midi for event in events(music, header) for tone in event.tones]


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
