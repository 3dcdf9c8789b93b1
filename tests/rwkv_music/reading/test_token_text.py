"""Pieces as words in a text file."""

import pytest

from rwkv_music.cli import main
from rwkv_music.errors import UserError
from rwkv_music.reading.token_text import CODES, read_tokens, write_tokens
from rwkv_music_tokenizers.performance import Performance, Track, rows

PIECE = Performance((Track(rows([(0, 480, 60, 68), (480, 960, 64, 68)], 4)),), 480)


@pytest.mark.parametrize("code", CODES)
def test_every_code_comes_back_from_its_text(code):
    again = read_tokens(write_tokens(PIECE, code))
    assert [row[2] for row in again.tracks[0].notes.tolist()] == [60, 64]
    assert write_tokens(again, code) == write_tokens(PIECE, code)


def test_a_text_without_a_first_line_is_told_by_its_words():
    notes, words = (write_tokens(PIECE, code).split("\n")[1] for code in ("notes", "midi"))
    assert read_tokens(notes).count == read_tokens(words).count == 2


@pytest.mark.parametrize(
    ("text", "rule"),
    [("# tokenizer: morse\n-.-", "known are notes"), ("<bos> <grid> la la", "'notes'"), ("p:3c:c t999", "'midi'")],
)
def test_what_is_no_text_of_a_code_is_refused(text, rule):
    with pytest.raises(UserError, match=rule):
        read_tokens(text)


def test_convert_goes_to_tokens_and_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.abc").write_text("X:1\nM:4/4\nL:1/4\nK:C\nCEGc|]\n")
    assert main(["convert", "t.abc", "t.tokens"]) == 0
    assert main(["convert", "t.tokens", "t.mid"]) == 0
    assert main(["convert", "t.mid", "again.tokens"]) == 0
    assert (tmp_path / "again.tokens").read_text() == (tmp_path / "t.tokens").read_text()
    assert main(["convert", "t.abc", "w.tokens", "--tokenizer", "midi"]) == 0
    assert (tmp_path / "w.tokens").read_text().startswith("# tokenizer: midi\n")
