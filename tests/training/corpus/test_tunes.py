"""Tunes and configs from disk: what is wrong with them is said in one line."""

import json
from pathlib import Path

import pytest
import zstandard

from rwkv_music_training.config import ConfigError, TrainingConfig, config_from_json, read_config
from rwkv_music_training.corpus.tunes import BEGIN, END, CorpusError, document, read_tunes
from rwkv_music_training.train import main

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


def test_the_command_says_in_one_line_what_is_missing(tmp_path, capsys):
    assert main(["abc-folk", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--steps", "1"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path}") and told.count("\n") == 1


def test_a_document_stands_between_begin_and_end():
    assert document("AB").tolist() == [BEGIN, 65, 66, END]
    assert document("AB", 3).tolist() == [BEGIN, 65, 66]


def test_a_config_comes_back():
    config = TrainingConfig(layers=3, sample_prompts=("a", "b"), tiers=("A", "B"))
    assert config_from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "not JSON"),
        ("[1]", "must hold one JSON object"),
        ('{"colour": 1}', "unknown field 'colour'"),
        ('{"width": "wide"}', "width must be like 192"),
        ('{"dropout": true}', "dropout must be like 0.0"),
        ('{"tiers": "A"}', "tiers must be like"),
        ('{"width": 100}', "multiple of head_size"),
        ('{"threads": 0}', "threads must be at least 1"),
        ('{"dropout": 1}', "dropout"),
        ('{"tokens_per_batch": 100}', "at least max_length"),
        ('{"precision": "half"}', "bfloat16 or float32"),
        ('{"steps": 0}', "steps must be at least 1"),
        ('{"tokenizer": "words"}', "tokenizer must be one of abc, notes"),
        ('{"clock": "sun"}', "clock must be auto, grid or perf"),
        ('{"source_power": 2}', "source_power must lie in 0..1"),
    ],
)
def test_a_bad_config_is_refused(text, reason):
    with pytest.raises(ConfigError, match=reason):
        config_from_json(text)


def test_a_config_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="absent.json: cannot be read"):
        read_config(tmp_path / "absent.json")
