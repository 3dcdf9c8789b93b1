"""What the tests of learning share: documents that nobody wrote, and a run that learns in milliseconds."""

from collections.abc import Iterator

import numpy as np
import pytest

from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import Parallel, setup

VOCABULARY = 40


def made_up_documents(count: int, seed: int = 0, longest: int = 90) -> list[np.ndarray]:
    """Documents of a few ids that follow one another in a pattern, so that there is something to learn."""
    chance = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        steps = chance.choice([1, 2, 3], size=chance.integers(5, longest))
        documents.append(np.concatenate([[2], 4 + np.cumsum(steps) % (VOCABULARY - 4), [3]]))
    return documents


def shaken(ids: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A change that can be seen, and that may make a document longer or shorter."""
    middle = (ids[1:-1] - 4 + draw.integers(1, 5)) % (VOCABULARY - 4) + 4
    return np.concatenate([ids[:1], middle[: max(1, len(middle) - int(draw.integers(0, 3)))], ids[-1:]])


@pytest.fixture(scope="session")
def documents() -> list[np.ndarray]:
    return made_up_documents(40)


@pytest.fixture(scope="session")
def lesson(documents) -> Lesson:
    """Forty documents of two sources to learn from, eight to be read by."""
    valid = made_up_documents(8, seed=1)
    return Lesson(
        "abc",
        VOCABULARY,
        Listed(documents, ["songs", "tunes"] * 20, shaken),
        Listed(valid, ["songs"] * 3 + ["tunes"] * 5),
    )


@pytest.fixture
def tiny() -> TrainingConfig:
    """Two layers of 32 channels, float32, six steps of some 300 tokens; dropout and an average."""
    return TrainingConfig().but(
        name="tiny",
        shape={"layers": 2, "width": 32, "head_size": 32, "ffn": 32},
        data={"tokens_per_step": 300, "pieces": 3, "window": 64, "valid_tokens": 300},
        optimiser={"learning_rate": 1e-2, "dropout": 0.1, "average": 0.9},
        schedule={"steps": 6, "warmup": 2},
        machine={"precision": "float32", "device": "cpu", "threads": 1},
        habits={"read_every": 3},
    )


@pytest.fixture
def alone() -> Iterator[Parallel]:
    """The only process of a run."""
    parallel = setup(Layout(accelerator="cpu"))
    yield parallel
    parallel.close()
