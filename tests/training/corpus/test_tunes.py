"""Tunes from disk: what is wrong with them is said in one line."""

import json
from pathlib import Path

import pytest
import zstandard

from rwkv_music_training.corpus.tunes import BEGIN, END, CorpusError, document, read_tunes

ROW = {"id": "a", "source": "book", "tier": "A", "abc": "X:1\nT:Title\nM:6/8\nK:D\nABc|\n"}


def packed(path: Path, *lines: str) -> Path:
    path.write_bytes(zstandard.compress("\n".join(lines).encode()))
    return path


def test_tunes_lose_their_number_and_title(tmp_path):
    (tune,) = read_tunes(packed(tmp_path / "x.zst", json.dumps(ROW)))
    assert (tune.id, tune.source, tune.tier) == ("a", "book", "A")
    assert tune.text == "M:6/8\nL:1/8\nK:D\nABc|\n"


def test_only_the_tiers_asked_for_are_read(tmp_path):
    path = packed(tmp_path / "x.zst", json.dumps(ROW), json.dumps(ROW | {"tier": "B", "id": "b"}))
    assert [tune.id for tune in read_tunes(path)] == ["a"]
    assert [tune.id for tune in read_tunes(path, ("A", "B"))] == ["a", "b"]


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"id": "a"}', json.dumps(ROW | {"abc": 5})])
def test_a_bad_line_is_named(tmp_path, line):
    path = packed(tmp_path / "x.zst", json.dumps(ROW), line)
    with pytest.raises(CorpusError, match="line 2: every line must be an object"):
        read_tunes(path)


def test_bad_files_are_refused(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text(json.dumps(ROW))
    cut = tmp_path / "cut"
    cut.write_bytes(zstandard.compress(json.dumps(ROW).encode() * 50)[:-5])
    for path in (plain, tmp_path / "absent"):
        with pytest.raises(CorpusError, match="cannot be read"):
            read_tunes(path)
    with pytest.raises(CorpusError):
        read_tunes(cut)
    with pytest.raises(CorpusError, match="no tune of tier A"):
        read_tunes(packed(tmp_path / "b", json.dumps(ROW | {"tier": "B"})))


def test_a_document_stands_between_begin_and_end():
    assert document("AB").tolist() == [BEGIN, 65, 66, END]
    assert document("AB", 3).tolist() == [BEGIN, 65, 66]
