"""What the tests of training share: made-up tunes and a config that learns in milliseconds."""

import random

import pytest
import torch

from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.corpus import Tune


def made_up_tune(number: int) -> Tune:
    """A tune of 2 to 9 bars that nobody wrote."""
    notes = random.Random(number)
    bars = ["".join(notes.choices("DEFGABcde", k=6)) for _ in range(2 + number % 8)]
    text = f"R:jig\nM:6/8\nL:1/8\nK:{'DGA'[number % 3]}\n{'|'.join(bars)}|]\n"
    return Tune(f"tune-{number}", "made up" if number % 2 else "other", "A", text)


@pytest.fixture(scope="session")
def tunes() -> list[Tune]:
    """Forty made-up tunes from two sources."""
    return [made_up_tune(number) for number in range(40)]


@pytest.fixture
def tiny() -> TrainingConfig:
    """Two layers of 64 channels, float32, six steps of some 300 tokens; dropout, an average and two threads."""
    return TrainingConfig(
        name="tiny",
        layers=2,
        width=64,
        ffn=64,
        tokens_per_batch=300,
        max_length=200,
        steps=6,
        warmup_steps=2,
        dropout=0.1,
        average=0.9,
        pieces=3,
        precision="float32",
        evaluate_every=3,
        sample_prompts=(),
    )


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors this small only wait for torch's threads; trainers take them down to one anyway."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
