"""ABC text becomes ids and comes back; what the models cannot say is put into what they can."""

import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_tokens import AbcTokenizer, decode, encode, training_text, transliterate

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "tokens" / "abc.json").read_text())


@pytest.mark.parametrize("case", [case for case in GOLDEN["codec"] if "text" in case])
def test_ids_are_the_published_ones(case):
    assert encode(case["text"]) == case["ids"]


@pytest.mark.parametrize("case", [case for case in GOLDEN["codec"] if "decoded" in case])
def test_texts_are_the_published_ones(case):
    assert decode(case["ids"]) == case["decoded"]


@pytest.mark.parametrize("case", GOLDEN["control_codes"], ids=lambda case: case["name"])
def test_documents_are_the_published_ones(case):
    assert AbcTokenizer().document(case["rwkv_text"]) == case["rwkv_ids"]


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=4, max_codepoint=127)))
def test_ascii_survives(text):
    assert decode(encode(text)) == text


@settings(deadline=None)
@given(st.text())
def test_every_text_has_ids_in_the_vocabulary(text):
    assert all(3 < code < 128 for code in encode(text))


def test_an_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"range 0\.\.127, not 128"):
        decode([65, 128])


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("Fête à la campagne, Größe", "Fete a la campagne, Grosse"),
        ("e\u0301", "e"),
        ("Калинка", "Kalinka"),
        ("桜", "Ying"),
        ("“Am” ‘x’ – …", "\"Am\" 'x' - ..."),
        ("B♭ F♯", "Bb F#"),
        ("a 🎵 b 👍🏽", "a  b "),
        ("tab\tline\nend\r\nlast\rthis", "tab\tline\nend\nlast\nthis"),
        ("bell\x07 null\x00 \x7f", "bell null "),
        ("\ud800\ue000", ""),
    ],
)
def test_other_scripts_become_ascii(text, ascii_text):
    assert transliterate(text) == ascii_text


@settings(deadline=None)
@given(st.text())
def test_transliteration_leaves_printable_ascii_lines(text):
    written = transliterate(text)
    assert written.isascii()
    assert all(line.isprintable() for line in written.replace("\t", "").split("\n"))
    assert transliterate(written) == written


FULL = """X:7
T:Fête champêtre
C:Nobody
M:C|
R:reel
%%MIDI program 73
Q:1/4=120
K:E minor clef=treble % minor
P:A
EFGA "^slow"B2 B2| [P:x]AGFE \\
D2 D2:| % tail
w: la la
K:G major
|:[Q:1/4=90]efga [M:C]b2 b2:|

W:words
"""


def test_the_training_form_keeps_the_music_and_its_four_fields():
    assert training_text(FULL) == (
        'R:reel\nM:2/2\nL:1/8\nK:Em\nEFGA "^slow"B2 B2| AGFE D2 D2:|\n[K:G]|:efga [M:4/4]b2 b2:|\n'
    )


def test_the_training_form_of_itself_is_itself():
    once = training_text(FULL)
    assert training_text(once) == once


def test_the_training_form_spells_out_the_unit_that_a_tune_means():
    assert training_text("M:2/4\nK:D\nA|") == "M:2/4\nL:1/16\nK:D\nA|\n"


def test_a_header_alone_is_a_prompt():
    assert training_text("X:1\nR:jig\nM:6/8\nK:Dmix") == "R:jig\nM:6/8\nK:Dmix\n"


def test_only_the_first_voice_is_trained_on():
    text = "L:1/8\nK:C\nV:1 clef=treble\nCD|\nV:2\nEF|\n[V:1]GA|[V:2]Bc|\n"
    assert training_text(text) == "L:1/8\nK:C\nCD|\nGA|\n"


SHARED = Path(__file__).parents[3] / "shared" / "data" / "abc" / "valid.jsonl.zst"


@pytest.mark.skipif(not SHARED.exists(), reason="the tunes are not here")
def test_the_training_data_is_in_training_form():
    with zstandard.open(SHARED, "rt") as lines:
        tunes = [json.loads(line)["abc"] for line in lines]
    for tune in tunes:
        kept = [line for line in tune.split("\n") if line[:2] not in ("X:", "T:")]
        assert training_text(tune) == "\n".join(kept)
