"""ABC text falls into tokens without loss, whole or a character at a time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_lexer import Lexer, lex

TUNE = (
    "X:1\nT:Test % no title\nM:6/8\nK:Gdor\n"
    'D|:"Gm"G2B {/a}d>ef!trill!|[GB]3- [GB]2z:|[1,3 (3abc ~d3 :|[2 x6|]\nw: la-la\n'
    "%%MIDI program 1\n[K:D]y2 C`D & E4\\\nF|"
)
ABC_TEXT = st.text(alphabet="ABCabcz[](){}|:!+\"%\\\n\r 123/,'^_=-<>.~&$yXZKVLMw\x00é", max_size=60)


def kinds(text: str) -> list[str]:
    """The kinds of token that music falls into."""
    return [token.kind for token in lex("K:C\n" + text)[2:]]


def fed_by_characters(text: str):
    lexer = Lexer()
    tokens = [token for character in text for token in lexer.feed(character)]
    return tokens + lexer.finish()


def test_joined_tokens_are_the_text():
    assert "".join(token.text for token in lex(TUNE)) == TUNE


def test_places_point_at_the_text():
    lines = TUNE.split("\n")
    for token in lex(TUNE):
        if token.kind != "newline":
            assert lines[token.line - 1][token.column - 1 :].startswith(token.text)
        assert TUNE[token.start : token.end] == token.text


def test_a_character_at_a_time_gives_the_same_tokens():
    assert fed_by_characters(TUNE) == lex(TUNE)


@settings(max_examples=100, deadline=None)
@given(ABC_TEXT)
def test_any_text_is_joined_again_and_fed_alike(text: str):
    for whole in (text, "K:C\n" + text):
        assert "".join(token.text for token in lex(whole)) == whole
        assert fed_by_characters(whole) == lex(whole)


def test_a_clone_goes_its_own_way():
    lexer = Lexer()
    lexer.feed("K:C\nC2")
    twin = lexer.clone()
    assert [token.text for token in lexer.feed("3|") + lexer.finish()] == ["C23", "|"]
    assert [token.text for token in twin.feed(" D") + twin.finish()] == ["C2", " ", "D"]


BARS = ["|", "||", "|]", "[|", "[|]", ".|", "|:", ":|", "::", ":|:", ":||:", "::|", "|::", ":|]", "||:", "|||"]


@pytest.mark.parametrize("line", BARS)
def test_every_bar_line_is_one_token(line: str):
    assert kinds(f"C{line}D") == ["note", "bar", "note"]


ONE_TOKEN = {
    "note": ["C", "^^c'3/2", "__B,,//", "=f/", "g''16"],
    "rest": ["z", "z3/2", "x", "Z4", "X"],
    "tuplet": ["(3", "(3:2", "(3:2:4", "(3::2"],
    "broken": [">", ">>", "<<<"],
    "decoration": ["!trill!", "+trill+", "!<(!", "!D.C.!", "~", ".", "H", "u"],
    "symbol": ['"G7"', '"Am/C"', '""'],
    "annotation": ['"^text"', '"_a b"', '"@"'],
    "inline": ["[K:G]", "[M:3/4]", "[V:T1]", "[r: remark]"],
    "ending": ["[1", "[1,3", "[1-3,5", "2"],
    "grace_open": ["{", "{/"],
    "chord_close": ["]", "]2", "]/"],
    "slur_open": ["(", ".("],
    "tie": ["-", ".-"],
    "spacer": ["y", "y5"],
    "overlay": ["&"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ONE_TOKEN.items() for text in texts])
def test_every_sign_has_its_kind(kind: str, text: str):
    assert kinds(f"| {text} C") == ["bar", "space", kind, "space", "note"]


def test_a_bracket_opens_a_chord_a_field_or_an_ending():
    assert kinds("[CE]") == ["chord_open", "note", "note", "chord_close"]
    assert kinds("[K:C]") == ["inline"]
    assert kinds("[1") == ["ending"]


def test_in_the_body_a_note_before_a_repeat_is_no_field():
    assert kinds("A:|\nw:la") == ["note", "bar", "newline", "field"]


def test_a_field_ends_at_a_comment_but_not_at_an_escaped_percent_sign():
    assert [token.text for token in lex(r"T:50\% off % really")] == [r"T:50\% off ", "% really"]


def test_text_blocks_hold_no_music():
    text = "K:C\n%%begintext\nABC |\n%%endtext\nC"
    assert [token.kind for token in lex(text) if token.kind != "newline"] == [
        "field",
        "directive",
        "text",
        "directive",
        "note",
    ]


def test_a_quote_left_open_ends_with_its_line():
    assert kinds('"Am\nC') == ["symbol", "newline", "note"]


@pytest.mark.parametrize("sign", ["C", "|", '"', "(", "!", "9", "[", "K:", "\\", " ", "%", "^", "+a"])
def test_a_long_run_is_cut_in_linear_time(sign: str):
    text = "K:C\n" + sign * 3_000
    assert "".join(token.text for token in fed_by_characters(text)) == text
