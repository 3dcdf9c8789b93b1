"""RWKV-Runner's REMI has the published vocabulary, ids and notes; MMM is loaded from its model's file, or refused."""

import base64
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.grid_tokens import GridTokenizer, load_mmm, runner_remi
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.performance import Performance, Track, rows

pytest.importorskip("miditok", reason="pip install 'rwkv-music[miditok]'")
from miditok import MMM, TokenizerConfig
from symusic import Score

TOKENS = Path(__file__).parents[1] / "data" / "tokens"
SHARED = Path(__file__).parents[3] / "shared" / "golden" / "tokens"
GOLDEN = json.loads((TOKENS / "remi.json").read_text())
FILES = {case["name"]: base64.b64decode(case["midi"]) for case in json.loads((TOKENS / "midi_encode.json").read_text())}
EVERY_CASE = pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])


@pytest.fixture(scope="module")
def remi() -> GridTokenizer:
    return runner_remi()


@pytest.fixture(scope="module")
def mmm_file(tmp_path_factory) -> Path:
    """A tokenizer.json like MIDI-RWKV's: words of REMI, and pieces of them that were learnt."""
    folder = tmp_path_factory.mktemp("model")
    for name, content in FILES.items():
        (folder / f"{name}.mid").write_bytes(content)
    tokenizer = MMM(TokenizerConfig(base_tokenizer="REMI"))
    tokenizer.train(len(tokenizer) + 20, files_paths=[folder / f"{case['name']}.mid" for case in GOLDEN["cases"]])
    tokenizer.save(folder / "tokenizer.json")
    return folder / "tokenizer.json"


def heard(performance: Performance) -> list[list]:
    """Notes: start and end in seconds, pitch, velocity, program, drums."""
    seconds = performance.seconds
    return sorted(
        [round(start, 6), round(end, 6), pitch, velocity, track.program, track.drums]
        for track in performance.tracks
        for start, end, pitch, velocity in zip(
            seconds(track.notes[:, 0]), seconds(track.notes[:, 1]), *track.notes[:, 2:].T.tolist(), strict=True
        )
    )


def test_the_vocabulary_of_remi_is_the_published_one(remi):
    vocabulary = remi.tokenizer.vocab
    assert sorted(vocabulary, key=vocabulary.get) == GOLDEN["vocab"]
    assert (remi.vocabulary_size, remi.pad, remi.bos, remi.eos) == (427, 0, 1, 2)


@EVERY_CASE
def test_files_have_the_published_ids(remi, case):
    ids = remi.encode_score(Score.from_midi(FILES[case["name"]]))
    assert ids == case["ids"]
    assert " ".join(GOLDEN["vocab"][number] for number in ids) == case["tokens"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared golden vectors")
def test_every_file_has_the_published_ids(remi):
    for case in json.loads((SHARED / "remi.json").read_text())["cases"]:
        assert remi.encode_score(Score.from_midi((SHARED / case["midi"]).read_bytes())) == case["ids"], case["midi"]


@EVERY_CASE
def test_ids_are_heard_as_published(remi, case):
    assert heard(remi.decode(case["ids"])) == sorted(case["notes"])


@EVERY_CASE
def test_a_performance_is_heard_as_its_file(remi, case):
    if case["name"] == "drums_ch10":
        pytest.skip("the reader gives the first note the program that comes right after it")
    assert heard(remi.decode(remi.encode(read_midi(FILES[case["name"]])))) == sorted(case["notes"])


def test_an_id_beyond_the_vocabulary_is_refused(remi):
    with pytest.raises(ValueError, match=r"range 0\.\.426, not 427"):
        remi.decode([4, 427])


def test_a_piece_too_long_for_the_grid_is_refused(remi):
    with pytest.raises(ValueError, match="too long for a grid: expected at most 200000 quarters"):
        remi.encode(Performance((Track(rows([(0, 400_000, 60, 80)], 4)),), 1))


@settings(deadline=None)
@given(st.lists(st.integers(0, 426), max_size=60))
def test_any_ids_are_heard(remi, ids):
    for track in remi.decode(ids).tracks:
        assert (track.notes[:, 0] < track.notes[:, 1]).all()


def test_mmm_is_loaded_from_the_file_of_its_model(mmm_file):
    mmm = load_mmm(mmm_file)
    piece = read_midi(FILES["type1"])
    assert mmm.name == "mmm"
    ids = mmm.encode(piece)
    assert max(ids) >= len(mmm.tokenizer.vocab), "no learnt piece was used"
    assert mmm.decode(ids).count == piece.count
    assert mmm.encode(mmm.decode(ids)) == ids


@settings(deadline=None)
@given(data=st.data())
def test_any_ids_of_mmm_are_heard(mmm_file, data):
    mmm = load_mmm(mmm_file)
    mmm.decode(data.draw(st.lists(st.integers(0, mmm.vocabulary_size - 1), max_size=40)))


def test_mmm_without_its_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file; a model that speaks MMM needs the tokenizer.json"):
        load_mmm(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("model", ["x", "{}", 3])
def test_learnt_pieces_that_cannot_be_read_are_refused(mmm_file, tmp_path, model):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(mmm_file.read_text()) | {"_model": model}))
    with pytest.raises(ValueError, match="expected a tokenizer.json that MidiTok wrote for MMM"):
        load_mmm(path)


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '{"tokenization": "REMI"}', '{"tokenization": "MMM", "config": 3}', "[" * 100_000, "\udcff"]
)
def test_another_file_is_not_taken_for_mmm(tmp_path, text):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="expected a tokenizer.json that MidiTok wrote for MMM"):
        load_mmm(path)


@pytest.mark.parametrize("load", [runner_remi, lambda: load_mmm(Path("tokenizer.json"))])
def test_without_miditok_the_mend_is_told(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "miditok", None)
    with pytest.raises(ValueError, match=r"need MidiTok; mend with: pip install 'rwkv-music\[miditok\]'"):
        load()
