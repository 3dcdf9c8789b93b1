"""What outputs remember: the line survives every format it stands in, and only such a line is believed."""

import json
import re
import time

import pytest

from rwkv_music.making import Making, MakingError, Run, read_making, without_making
from rwkv_music.sampling import SamplingOptions

MAKING = Making(
    version="0.1.0",
    model="abc-folk",
    hash="ab" * 32,
    device="cpu",
    dtype="float32",
    threads=2,
    runs=(Run(SamplingOptions(seed=5, min_p=1e-05), 8, 2048), Run(SamplingOptions(seed=6), None, 17)),
    prompt='X:1\nT:Tam & Tibby -- "the <second> part" (slow) Ré\'s\nK:G\n',
)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


@pytest.mark.parametrize(
    "content",
    [
        MAKING.line(),
        f"X:1\nK:G\nGABc|]\n% {MAKING.line()}\n",
        f"<svg><!-- {MAKING.line()} --></svg>",
        json.dumps({"remarks": [MAKING.line()]}),
        json.dumps({"remarks": [MAKING.line()]}, indent=2),
        f"MThd\0\0\xff\x01\x82{MAKING.line()}\0\xff/\0",
        "%PDF-1.7\n/Keywords(" + re.sub(r"([\\()])", r"\\\1", MAKING.line()) + ")\n",
    ],
)
def test_a_making_is_read_back_from_any_output(output, content):
    output.write_text(content, encoding="latin-1")
    assert read_making(output) == MAKING


def test_the_line_is_safe_in_xml_and_in_comments():
    line = MAKING.line()
    assert line.isascii() and line.isprintable()
    assert not set("&<>") & set(line)
    assert "--" not in line


def test_the_seed_is_that_of_the_last_run():
    assert MAKING.seed == 6


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"X:1\nK:G\nGABc|]\n",
        b"rwkv-music {",
        b"rwkv-music {}",
        b'rwkv-music {"model": "abc-folk"}',
        MAKING.line().replace('"runs": [{', '"runs": [[{').encode(),
        MAKING.line().replace('"seed": 5', '"seed": -5').encode(),
        MAKING.line().replace('"bars": 8', '"bars": "8"').encode(),
        b"rwkv-music {" + b"[" * 100_000,
    ],
)
def test_a_file_that_remembers_nothing_is_told_so(output, content):
    output.write_bytes(content)
    with pytest.raises(MakingError, match="says how it was made"):
        read_making(output)


def test_many_marks_take_no_time(output):
    output.write_bytes(b'rwkv-music {"' * 1_000_000)
    begin = time.monotonic()
    with pytest.raises(MakingError):
        read_making(output)
    assert time.monotonic() - begin < 2


def test_a_tune_without_its_making_is_the_tune():
    tune = "X:1\nK:G\n% a remark on rwkv-music\nGABc|]\n"
    assert without_making(f"{tune}% {MAKING.line()}\n") == tune
