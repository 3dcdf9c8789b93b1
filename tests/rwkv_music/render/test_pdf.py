"""PDF pages: as many as the piece needs, with its title, the same every time."""

import re
from dataclasses import replace

import pytest

from rwkv_music.render.errors import RenderError
from rwkv_music.render.pdf import pdf
from rwkv_music_tokenizers.abc_reader import read_abc

HEADER = "X:1\nT:Air\nC:trad.\nM:4/4\nL:1/4\nQ:1/4=90\nK:D\n"


def pages(content: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", content))


def test_a_short_piece_is_one_page_that_knows_its_title_and_its_making():
    score = read_abc(HEADER + "DFAd|]\n")
    made = pdf(score, remarks=["seed 7"])
    assert made.startswith(b"%PDF-")
    assert pages(made) == 1
    assert b"(seed 7)" in made
    assert b"(Air)" in made
    assert pdf(score, remarks=["seed 7"]) == made


def test_a_long_piece_takes_several_pages():
    assert pages(pdf(read_abc(HEADER + "D/F/A/d/ D/F/A/d/|\n" * 150))) > 2


def test_nothing_is_no_page():
    with pytest.raises(RenderError, match="there is no music"):
        pdf(replace(read_abc(HEADER + "DFAd|]\n"), parts=()))


def test_engraving_has_an_end():
    with pytest.raises(RenderError, match="more than 0 s; shorten the piece"):
        pdf(read_abc(HEADER + "DFAd|]\n"), time_limit=0.01)


def test_a_making_is_read_back_from_a_sheet():
    line = r'rwkv-music {"prompt": "X:1\nT:Air (slow)\nK:G\n"}'
    made = pdf(read_abc(HEADER + "DFAd|]\n"), remarks=[line])
    assert line.encode() in re.sub(rb"\\([\\()])", rb"\1", made)
