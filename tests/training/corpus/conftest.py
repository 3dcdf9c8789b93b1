"""Music that nobody wrote, as files of every kind, and a corpus made of it."""

import csv
import io
import json
import random
import tarfile
from pathlib import Path

import pytest
import zstandard

from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_training.corpus.build import build, here
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.recipe import Recipe

PIECES = 24


def piece(number: int, shift: int = 0, stretch: int = 1, loud: int = 80) -> Performance:
    """A melody of 48 notes over a bass, in another key, other note values, another loudness."""
    chance = random.Random(number)
    melody = [(240 * place, chance.randrange(60, 84)) for place in range(48)]
    bass = [(960 * place, chance.randrange(36, 48)) for place in range(12)]
    tracks = [
        Track(rows([(stretch * at, stretch * (at + length), pitch + shift, loud) for at, pitch in notes], 4), program)
        for notes, length, program in ((melody, 230, 0), (bass, 900, 32))
    ]
    return Performance(tuple(tracks), 480)


def tune(number: int, title: str = "made up") -> str:
    """Eight bars of a jig."""
    chance = random.Random(number)
    bars = ["".join(chance.choices("DEFGABcde", k=6)) for _ in range(8)]
    return f"X:1\nT:{title}\nR:jig\nM:6/8\nL:1/8\nK:{'DGA'[number % 3]}\n{'|'.join(bars)}|]\n"


def packed(folder: Path, path: Path) -> Path:
    """A folder as a .tar.zst, its files in the order of their names."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                tar.add(file, f"./{file.relative_to(folder)}")
    path.write_bytes(zstandard.compress(archive.getvalue()))
    return path


@pytest.fixture(scope="session")
def make_piece():
    """A piece of this number, in another key, other note values, another loudness."""
    return piece


@pytest.fixture(scope="session")
def make_tune():
    """A tune of this number, as ABC."""
    return tune


@pytest.fixture(scope="session")
def pack():
    """A folder as a .tar.zst."""
    return packed


@pytest.fixture(scope="session")
def collection(tmp_path_factory) -> Path:
    """MIDI files with an index: two sources, one file of tier B, three that are held out."""
    folder = tmp_path_factory.mktemp("collection")
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file)
        index.writerow(("path", "source", "tier", "licence", "split", "group", "title"))
        for number in range(PIECES):
            path = f"{number:02d}.mid"
            (folder / path).write_bytes(write_performance(piece(number)))
            source = ("songs", "dances")[number % 2]
            split = ("valid", "test", "train")[min(number // 2, 2)] if number < 6 else "train"
            index.writerow(
                (path, source, "B" if number == 9 else "A", "CC0", split, f"g{number // 3}", f"No. {number}")
            )
    return folder


@pytest.fixture(scope="session")
def tunebook(tmp_path_factory) -> Path:
    """Thirty tunes as JSON lines."""
    path = tmp_path_factory.mktemp("tunes") / "train.jsonl.zst"
    rows = [{"id": f"tune-{number}", "source": "book", "tier": "A", "abc": tune(number)} for number in range(30)]
    path.write_bytes(zstandard.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


@pytest.fixture(scope="session")
def corpus(collection, tmp_path_factory) -> Corpus:
    """The collection as notes."""
    return build([collection], tmp_path_factory.mktemp("built") / "corpus", Recipe(), here(2))
