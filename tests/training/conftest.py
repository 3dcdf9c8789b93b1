"""What the tests of training share: made-up tunes and pieces, and a run that is over in a moment."""

import csv
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_training.corpus.tunes import Tune
from rwkv_music_training.judging.recipe import NoteRecipe
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup
from rwkv_music_training.telling.curve import Ledger


def made_up_tune(number: int) -> Tune:
    """A tune of 2 to 9 bars that nobody wrote."""
    notes = random.Random(number)
    bars = ["".join(notes.choices("DEFGABcde", k=6)) for _ in range(2 + number % 8)]
    text = f"R:jig\nM:6/8\nL:1/8\nK:{'DGA'[number % 3]}\n{'|'.join(bars)}|]\n"
    return Tune(f"tune-{number}", "made up" if number % 2 else "other", "A", text)


def made_up_piece(number: int) -> Performance:
    """Two parts of 3 to 14 bars that nobody wrote: every fourth bar begins in another meter, tempo, key or loudness."""
    chance = random.Random(number)
    bars = 3 + number % 12
    starts = [0]
    meters, tempos, keys = [(0, 4, 4)], [(0, 500_000)], [(0, 0, 0)]
    for bar in range(1, bars + 1):
        starts.append(starts[-1] + 480 * meters[-1][1])
        if bar % 4 == 2:
            meters.append((starts[-1], 3 + bar % 3, 4))
            tempos.append((starts[-1], 400_000 + 5000 * bar))
            keys.append((starts[-1], bar % 5 - 2, 0))
    tables = []
    for part in range(2):
        onsets = [start + 120 * place for start in starts[:-1] for place in chance.sample(range(12), 4)]
        loud = 68 if part else 100
        tables.append(sorted((at, at + 110, chance.randrange(50, 80), loud if at < starts[2] else 36) for at in onsets))
    tracks = (Track(rows(tables[0], 4), 0), Track(rows(tables[1], 4), 40))
    return Performance(tracks, 480, rows(tempos, 2), rows(meters, 3), rows(keys, 3))


@pytest.fixture(scope="session")
def pieces() -> list[Performance]:
    """Thirty made-up pieces."""
    return [made_up_piece(number) for number in range(30)]


@pytest.fixture(scope="session")
def midi_folder(tmp_path_factory, pieces) -> Path:
    """Thirty pieces from two sources with an index; every fifth is for validation, one is of tier B."""
    folder = tmp_path_factory.mktemp("midi")
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file)
        index.writerow(("path", "source", "tier", "split", "title"))
        for number, piece in enumerate(pieces):
            split = "train" if number % 5 else "valid"
            source = "songs" if number % 3 else "tunes"
            path = f"{split}/{source}/{number}.mid"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(write_performance(piece))
            index.writerow((path, source, "B" if number == 7 else "A", split, "a, b"))
    return folder


@pytest.fixture(scope="session")
def note_recipe() -> NoteRecipe:
    """How the made-up pieces become documents: in bars, windows of 128 tokens."""
    return NoteRecipe(clock="grid", max_length=128, temperature=1.0, top_p=0.98)


@pytest.fixture(scope="session")
def tunes() -> list[Tune]:
    """Forty made-up tunes from two sources."""
    return [made_up_tune(number) for number in range(40)]


@pytest.fixture(scope="session")
def finished_run() -> Callable[[Path, TrainingConfig, Lesson], Path]:
    """What makes a folder that of a run that is over, with its curve and its best model."""

    def run(folder: Path, config: TrainingConfig, lesson: Lesson) -> Path:
        parallel = setup(Layout(accelerator="cpu"))
        Run(config, lesson, folder, parallel, watchers=[Ledger()]).run()
        parallel.close()
        return folder

    return run


@pytest.fixture(scope="session")
def tiny() -> TrainingConfig:
    """Two layers of 64 channels, float32, six steps of some 300 tokens, read twice."""
    return TrainingConfig().but(
        name="tiny",
        shape={"layers": 2, "width": 64, "ffn": 64},
        data={"tokens_per_step": 300, "pieces": 2, "window": 200},
        optimiser={"average": 0.9, "dropout": 0.1},
        schedule={"steps": 6, "warmup": 2},
        machine={"precision": "float32", "device": "cpu"},
        habits={"read_every": 3, "temperature": 1.0, "top_p": 0.98},
    )


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors this small only wait for torch's threads; trainers take them down to one anyway."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
