"""Snapshots: a piece goes on token for token, and no other file is taken for one."""

import json
import random
import struct
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from rwkv_music.compose import Piece
from rwkv_music.making import Run
from rwkv_music.manuscripts.abc import AbcManuscript
from rwkv_music.opening import open_tune
from rwkv_music.sampling import SamplingOptions
from rwkv_music.sealed import SealedError
from rwkv_music.snapshots import FORMAT, load_snapshot, read_label, save_snapshot

OPTIONS = SamplingOptions(temperature=1.3, top_p=1.0, seed=11)
LENGTH = 8


def grown(piece: Piece, tokens: int) -> Piece:
    for _character in piece.grow(Run(OPTIONS, 1000, tokens, free=True)):
        pass
    return piece


@pytest.fixture(scope="module")
def start(tiny_engine) -> Piece:
    return Piece.begin(tiny_engine, AbcManuscript(open_tune("X:1\nT:Étude\nM:4/4\nL:1/8\nK:G\nGABc dedB|")), OPTIONS)


@pytest.fixture(scope="module")
def moments(start) -> list[Piece]:
    """The piece after every token from 0 to LENGTH."""
    return [grown(start.branch(), length) for length in range(LENGTH + 1)]


@pytest.fixture
def stored(moments, tmp_path) -> Path:
    path = tmp_path / "piece.rwkvstate"
    save_snapshot(moments[5].snapshot("tiny"), path)
    return path


def test_a_thousand_random_splits_go_on_token_for_token(moments, tiny_engine, tmp_path):
    whole = moments[LENGTH]
    path = tmp_path / "piece.rwkvstate"
    dice = random.Random(1)
    for _ in range(1000):
        cut = dice.randint(0, LENGTH)
        save_snapshot(moments[cut].snapshot("tiny"), path)
        snapshot = load_snapshot(path, spec=tiny_engine.spec, model_hash=tiny_engine.hash)
        piece = grown(Piece.resume(tiny_engine, snapshot), LENGTH - cut)
        assert piece.memory.tokens == whole.memory.tokens
        assert piece.sampler.state() == whole.sampler.state()
        assert torch.equal(piece.memory.logits, whole.memory.logits)


def test_a_piece_comes_back_with_all_that_belongs_to_it(moments, stored, tiny_engine):
    piece = Piece.resume(tiny_engine, load_snapshot(stored, spec=tiny_engine.spec, model_hash=tiny_engine.hash))
    assert piece.manuscript == moments[5].manuscript
    assert piece.runs == moments[5].runs
    assert piece.work().abc == moments[5].work().abc
    assert torch.equal(piece.memory.state.wkv, moments[5].memory.state.wkv)


def test_a_label_tells_the_model_without_loading_it(stored, tiny_engine):
    label = read_label(stored)
    assert (label.model, label.model_hash, label.tokenizer) == ("tiny", tiny_engine.hash, "abc")
    assert label.options == OPTIONS
    assert label.draws == 5


def test_a_state_of_another_model_is_refused_by_name(stored, tiny_engine):
    with pytest.raises(SealedError, match="was made by tiny .*this model is another one"):
        load_snapshot(stored, spec=tiny_engine.spec, model_hash="f" * 64)


def test_a_file_that_is_no_snapshot_is_refused(tmp_path, tiny_model, tiny_engine):
    for content in (b"", b"X:1\nK:G\n", tiny_model.read_bytes(), struct.pack("<Q", 2**63) + b"{}"):
        path = tmp_path / "other"
        path.write_bytes(content)
        with pytest.raises(SealedError, match="other: not a snapshot"):
            load_snapshot(path, spec=tiny_engine.spec, model_hash=tiny_engine.hash)
        with pytest.raises(SealedError, match="other: not a snapshot"):
            read_label(path)


def test_writing_leaves_nothing_beside_the_file(stored):
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def relabelled(path: Path, change) -> None:
    """Write the snapshot again with its label changed, its checksum not."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    label = json.loads(metadata["label"])
    change(label)
    path.write_bytes(save(load(content), {**metadata, "label": json.dumps(label)}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_length", -1),
        ("prompt_length", "3"),
        ("model", None),
        ("story", []),
        ("options", {"temperature": "hot"}),
        ("options", {"colour": 1}),
        ("generator", {"generator": "pcg64", "seed": 11, "draws": -2}),
        ("generator", None),
    ],
)
def test_a_label_with_a_wrong_value_is_refused(stored, name, value):
    relabelled(stored, lambda label: label.update({name: value}))
    with pytest.raises(SealedError, match="label cannot be used"):
        read_label(stored)


def test_a_changed_label_does_not_match_the_checksum(stored, tiny_engine):
    relabelled(stored, lambda label: label.update(prompt_length=3))
    with pytest.raises(SealedError, match="damaged"):
        load_snapshot(stored, spec=tiny_engine.spec, model_hash=tiny_engine.hash)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("state.wkv", torch.zeros(2, 1, 1, 64, 63), "'state.wkv' must be F32"),
        ("state.time_shift", torch.zeros(2, 1, 64, dtype=torch.float64), "'state.time_shift' must be F32"),
        ("logits", torch.zeros(127), "'logits' must be F32"),
        ("tokens", torch.zeros(3, 3, dtype=torch.int32), "'tokens' must be a list"),
        ("more", torch.zeros(1), "holds exactly"),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_refused(stored, tiny_engine, name, tensor, message):
    content = stored.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert metadata["format"] == FORMAT
    stored.write_bytes(save({**load(content), name: tensor}, metadata))
    with pytest.raises(SealedError, match=message):
        load_snapshot(stored, spec=tiny_engine.spec, model_hash=tiny_engine.hash)


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Cut, flipped, overwritten, repeated or with another header length."""
    place = dice.randrange(len(content)) if dice.random() < 0.5 else dice.randrange(1200)
    kind = dice.randrange(5)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes([content[place] ^ (1 << dice.randrange(8))]) + content[place + 1 :]
    if kind == 2:
        return content[:place] + dice.randbytes(dice.randint(1, 40)) + content[place:]
    if kind == 3:
        return content + content[:place]
    return struct.pack("<Q", dice.randrange(2 ** dice.randrange(1, 64))) + content[8:]


def test_mutated_snapshots_are_refused_in_one_line_and_at_once(stored, tiny_engine):
    whole = stored.read_bytes()
    dice = random.Random(4)
    for _ in range(200):
        content = mutated(whole, dice)
        if content == whole:
            continue
        stored.write_bytes(content)
        begin = time.monotonic()
        with pytest.raises(SealedError) as refused:
            load_snapshot(stored, spec=tiny_engine.spec, model_hash=tiny_engine.hash)
        assert "\n" not in str(refused.value)
        assert time.monotonic() - begin < 5


def test_a_setting_that_does_not_exist_is_called_unknown(stored):
    relabelled(stored, lambda label: label["options"].update(colour=1))
    with pytest.raises(SealedError, match="unknown settings; there are min_p, recipe, seed, temperature"):
        read_label(stored)
