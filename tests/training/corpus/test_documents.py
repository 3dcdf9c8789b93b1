import numpy as np

from rwkv_music_training.corpus.documents import Documents, Listed


def louder(ids: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return ids + draw.integers(1, 100)


def test_listed_documents_know_their_lengths_and_sources():
    documents: Documents = Listed([np.array([2, 65, 3], np.uint8), np.array([2, 3], np.uint16)], ["songs", "tunes"])
    assert documents.lengths.tolist() == [3, 2]
    assert documents.sources.tolist() == ["songs", "tunes"]
    assert documents.read(0).dtype == np.int64


def test_a_reading_is_a_pure_function_of_the_generator():
    documents = Listed([np.array([2, 65, 3])], augment=louder)
    first, again = (documents.read(0, np.random.default_rng([1, 2, 0])) for _ in range(2))
    assert first.tolist() == again.tolist() != documents.read(0).tolist()
    assert documents.sources.tolist() == [""]
