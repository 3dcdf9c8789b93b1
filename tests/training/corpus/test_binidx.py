"""The pair of files that RWKV-LM reads, byte for byte, and back."""

import struct

import numpy as np
import pytest

from rwkv_music.cli import main
from rwkv_music_training.corpus.binidx import export_binidx, import_binidx, open_binidx
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.sharing import SPLITS, Sharing


def pair(folder, documents, kind=8, dtype="<u2"):
    """Files as RWKV-LM's make_data.py writes them: a sequence and a document for each list of ids."""
    (folder / "x.bin").write_bytes(b"".join(np.array(ids, dtype=dtype).tobytes() for ids in documents))
    lengths = [len(ids) for ids in documents]
    size = np.dtype(dtype).itemsize
    pointers = [size * sum(lengths[:number]) for number in range(len(lengths))]
    index = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, kind, len(lengths), len(lengths) + 1)
    index += struct.pack(f"<{len(lengths)}i{len(lengths)}q", *lengths, *pointers)
    index += struct.pack(f"<{len(lengths) + 1}q", *range(len(lengths) + 1))
    (folder / "x.idx").write_bytes(index)
    return folder / "x"


def test_what_is_exported_is_what_the_form_says(corpus, tmp_path):
    train = corpus.split("train")
    documents = [train.read(number).tolist() for number in range(len(train))]
    (tmp_path / "ours").mkdir()
    ours = export_binidx(corpus, "train", tmp_path / "ours" / "x")
    theirs = pair(tmp_path, documents)
    for one, suffix in zip(ours, (".bin", ".idx"), strict=True):
        assert one.read_bytes() == theirs.with_suffix(suffix).read_bytes()
    assert [ids.tolist() for ids in open_binidx(ours[1])] == documents


def test_a_corpus_comes_back(corpus, tmp_path, capsys):
    assert main(["corpus", "export", str(corpus.folder), "-o", str(tmp_path / "x"), "--split", "train"]) == 0
    told = str(tmp_path / "back")
    words = ["corpus", "import", str(tmp_path / "x.bin"), "-t", "notes", "-o", told, "--valid", "0.2"]
    count = corpus.manifest.count("train")
    assert main(words) == 0 and f"{count} documents in notes, of {count} pieces found" in capsys.readouterr().out
    back = import_binidx(tmp_path / "x", tmp_path / "again", "notes", Sharing())
    found = {back.split(name).read(n).tobytes() for name in SPLITS for n in range(back.manifest.count(name))}
    train = corpus.split("train")
    assert found == {train.read(number).tobytes() for number in range(len(train))}
    assert main(words) == 1 and "--force" in capsys.readouterr().err


def test_documents_get_their_edges_lose_separators_and_stay_in_one_split(tmp_path):
    documents = [[2, 65, 66, 3], [67, 68, 0], [0, 0], *([[65 + number, 70, 0]] * 2 for number in range(20))]
    flat = [*documents[:3], *(ids for both in documents[3:] for ids in both)]
    corpus = import_binidx(pair(tmp_path, flat), tmp_path / "out", "abc", Sharing(valid=0.3, test=0.3))
    splits = {
        name: [corpus.split(name).read(number).tolist() for number in range(corpus.manifest.count(name))]
        for name in SPLITS
    }
    every = [tuple(ids) for told in splits.values() for ids in told]
    assert (2, 65, 66, 3) in every and (2, 67, 68, 3) in every and len(every) == 42
    assert corpus.manifest.left_out == {"nothing in it": 1}
    sets = [set(map(tuple, told)) for told in splits.values()]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2] and all(sets)


@pytest.mark.parametrize(
    "spoil, rule",
    [
        (lambda told: b"NO" + told[2:], "must begin with MMIDIDX"),
        (lambda told: told[:9] + struct.pack("<Q", 2) + told[17:], "version 2"),
        (lambda told: told[:17] + b"\7" + told[18:], "type 7"),
        (lambda told: told[:-1], "cannot be read"),
        (lambda told: told[:18] + struct.pack("<Q", 1 << 62) + told[26:], "cannot be read"),
        (lambda told: told[:34] + struct.pack("<i", 5) + told[38:], "one after another in the .bin"),
        (lambda told: told[:-8] + struct.pack("<q", 9), "documents do not lie one after another"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, spoil, rule):
    path = pair(tmp_path, [[2, 65, 3], [2, 66, 3]])
    index = path.with_suffix(".idx")
    index.write_bytes(spoil(index.read_bytes()))
    with pytest.raises(CorpusError, match=rule):
        open_binidx(path)


def test_ids_of_another_code_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="ids up to 300, and abc has 128"):
        import_binidx(pair(tmp_path, [[2, 300, 3]]), tmp_path / "out", "abc", Sharing())
    with pytest.raises(CorpusError, match="no document"):
        import_binidx(pair(tmp_path, [[2, 3]]), tmp_path / "out", "abc", Sharing())
