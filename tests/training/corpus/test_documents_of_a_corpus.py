"""A corpus that is opened is whole, and a document that is damaged is named."""

import shutil

import numpy as np
import pytest

from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.shards import cut


@pytest.fixture
def copy(corpus, tmp_path):
    return Corpus.open(shutil.copytree(corpus.folder, tmp_path / "copy"))


def test_a_split_is_documents(corpus):
    documents: Documents = corpus.split("train")
    assert documents.read(0).dtype == np.int64
    with pytest.raises(IndexError):
        documents.read(len(documents.lengths))


def test_documents_come_from_several_shards_as_from_one(corpus, copy):
    train = corpus.split("train")
    begin, end = copy.manifest.code.begin, copy.manifest.code.end
    assert all(train.read(number)[0] == begin and train.read(number)[-1] == end for number in range(len(train)))
    assert [own.tolist() for own in cut(np.array([3, 3, 9, 1, 2]), most=6)] == [[0, 1], [2], [3, 4]]
    assert [own.tolist() for own in cut(np.array([], dtype=int))] == [[]]


@pytest.mark.parametrize("name", ["manifest.json", "train/tokens-00000.bin", "train/documents-00000.npy"])
def test_a_file_that_is_not_there_is_named(copy, name):
    (copy.folder / name).unlink()
    with pytest.raises(CorpusError, match=str(copy.folder)):
        Corpus.open(copy.folder)


def test_a_damaged_document_is_named(copy):
    path = copy.folder / "train/tokens-00000.bin"
    told = bytearray(path.read_bytes())
    told[0] ^= 255
    path.write_bytes(told)
    with pytest.raises(CorpusError, match="tokens-00000.bin: damaged at ids 0"):
        copy.split("train").read(0)
    with pytest.raises(CorpusError, match="sha256"):
        copy.check()


def test_a_corpus_of_another_vocabulary_or_form_is_refused(copy):
    path = copy.folder / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace(copy.manifest.code.sha256, "0" * 64))
    with pytest.raises(CorpusError, match="another vocabulary"):
        Corpus.open(copy.folder)
    path.write_text(text.replace('"format": 1', '"format": 0'))
    with pytest.raises(CorpusError, match="format 0"):
        Corpus.open(copy.folder)
    path.write_text(text.replace("train/tokens-00000.bin", "../tokens-00000.bin"))
    with pytest.raises(CorpusError, match="no corpus"):
        Corpus.open(copy.folder)


def test_only_three_splits_are_there(corpus):
    with pytest.raises(CorpusError, match="train, valid, test"):
        corpus.split("dev")
