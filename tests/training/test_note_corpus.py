"""Collections of MIDI files become documents once; what cannot be encoded is left out with its reason."""

import io
import os
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_training import encoding
from rwkv_music_training import note_corpus as module
from rwkv_music_training.corpus.tunes import CorpusError
from rwkv_music_training.encoding import Encoded, encode_all
from rwkv_music_training.midi_files import open_collection
from rwkv_music_training.note_corpus import corpus_line, note_corpus

INDEX = "path,source,tier,split\n"


def archive(folder: Path, path: Path) -> Path:
    """The folder as a .tar.zst, its index last."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted(folder.rglob("*.mid")):
            tar.add(file, f"./{file.relative_to(folder)}")
        tar.add(folder / "index.csv", "./index.csv")
    path.write_bytes(zstandard.compress(packed.getvalue()))
    return path


def test_a_split_and_its_tiers_are_chosen(midi_folder):
    assert len(open_collection(midi_folder, "train", ("A",)).files) == 23
    assert len(open_collection(midi_folder, "train", ("A", "B")).files) == 24
    assert len(open_collection(midi_folder, "valid", ("A",)).files) == 6


def test_documents_are_the_encoded_pieces_in_the_order_of_their_paths(midi_folder, pieces, tmp_path, note_recipe):
    corpus = note_corpus(midi_folder, "valid", tmp_path, note_recipe)
    assert list(corpus.paths) == sorted(corpus.paths) and len(corpus) == 6
    for number, path in enumerate(corpus.paths):
        piece = pieces[int(Path(path).stem)]
        expected = NoteTokenizer().encode(piece, NoteOptions(clock="grid"))
        assert np.array_equal(corpus.document(number), expected)
        assert corpus.notes[number] == piece.count
        assert corpus.seconds[number] == pytest.approx(piece.seconds(np.array([piece.end]))[0], abs=0.01)
        assert corpus.sources[corpus.source[number]] == path.split("/")[1]


def test_a_folder_and_its_archive_are_the_same_corpus(midi_folder, tmp_path, note_recipe):
    folder = note_corpus(midi_folder, "valid", tmp_path / "one", note_recipe)
    packed = note_corpus(archive(midi_folder, tmp_path / "x.tar.zst"), "valid", tmp_path / "two", note_recipe)
    assert np.array_equal(folder.ids, packed.ids) and folder.paths == packed.paths


def test_a_corpus_is_encoded_once(midi_folder, tmp_path, note_recipe, monkeypatch):
    first = note_corpus(midi_folder, "valid", tmp_path, note_recipe)
    monkeypatch.setattr(module, "encode_all", None)
    again = note_corpus(midi_folder, "valid", tmp_path, note_recipe)
    assert np.array_equal(first.ids, again.ids) and again.left_out == {}
    with pytest.raises(TypeError):
        note_corpus(midi_folder, "valid", tmp_path, replace(note_recipe, clock="perf"))


def test_what_is_left_out_is_counted_with_its_reason(midi_folder, pieces, tmp_path, note_recipe, monkeypatch):
    monkeypatch.setattr("rwkv_music_training.midi_files.MOST_BYTES", 5000)
    (tmp_path / "good.mid").write_bytes((midi_folder / "valid" / "songs" / "5.mid").read_bytes())
    (tmp_path / "noise.mid").write_bytes(b"MThd" + os.urandom(100))
    (tmp_path / "large.mid").write_bytes(bytes(5001))
    (tmp_path / "short.mid").write_bytes(b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0")
    names = ("good", "noise", "large", "short", "absent")
    (tmp_path / "index.csv").write_text(INDEX + "".join(f"{name}.mid,x,A,train\n" for name in names))
    corpus = note_corpus(tmp_path, "train", tmp_path / "cache", note_recipe)
    assert corpus.paths == ("good.mid",)
    assert sorted(corpus.left_out.values()) == [1, 1, 2]
    assert corpus.left_out["not readable as MIDI"] == 1 and corpus.left_out["fewer than 16 notes"] == 1
    assert "1 documents: x 1" in corpus_line(corpus) and "fewer than 16 notes: 1" in corpus_line(corpus)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"documents": [], "left_out": {}}'])
def test_a_damaged_cache_is_named(midi_folder, tmp_path, note_recipe, damage):
    note_corpus(midi_folder, "valid", tmp_path, note_recipe)
    (folder,) = tmp_path.iterdir()
    (folder / "documents.json").write_bytes(damage)
    with pytest.raises(CorpusError, match="not a whole cache; remove it"):
        note_corpus(midi_folder, "valid", tmp_path, note_recipe)


@pytest.mark.parametrize(
    "index, reason",
    [
        ("path,source,split\nx,y,train\n", "line 2: needs the columns path, source, tier and split"),
        (INDEX + "../x.mid,y,A,train\n", "line 2.*leads out of the collection"),
        (INDEX + "/x.mid,y,A,train\n", "leads out of the collection"),
        (INDEX, "no file of split train, tier A"),
    ],
)
def test_a_bad_index_is_refused(tmp_path, index, reason):
    (tmp_path / "index.csv").write_text(index)
    with pytest.raises(CorpusError, match=reason):
        open_collection(tmp_path, "train", ("A",))


def test_what_is_no_collection_is_named(tmp_path, midi_folder):
    noise, cut = tmp_path / "noise.tar.zst", archive(midi_folder, tmp_path / "cut.tar.zst")
    noise.write_bytes(b"no archive")
    cut.write_bytes(cut.read_bytes()[:-4000])
    for place in (noise, cut, tmp_path / "absent", tmp_path):
        with pytest.raises(CorpusError, match=str(place)):
            open_collection(place, "train", ("A",))


def _sleep_or_die(content: bytes, clock: str) -> Encoded | str:
    """Stands in for a parser that hangs or dies; imported by the processes by name."""
    if content == b"hang":
        time.sleep(60)
    if content == b"die":
        os._exit(1)
    return content.decode()


def test_a_file_that_hangs_or_kills_its_parser_costs_only_itself(monkeypatch):
    # Forked, so that the process sees the stand-in.
    monkeypatch.setattr(encoding, "encode_midi", _sleep_or_die)
    monkeypatch.setattr(encoding, "START", "fork")
    contents = [(number, content) for number, content in enumerate((b"a", b"die", b"b", b"hang", b"c", b"d"))]
    results = dict(encode_all(contents, "grid", processes=2, seconds=1.0))
    assert results == {0: "a", 1: "broke the parser", 2: "b", 3: "took too long", 4: "c", 5: "d"}
