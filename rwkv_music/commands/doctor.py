"""Tell what is installed, what is used, and why: versions, kernels, sound, caches, models."""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from rwkv_music import __version__
from rwkv_music.errors import UserError
from rwkv_music.library import DEFAULT_MODEL, embedded_models, find_model
from rwkv_music.render.soundfonts import find_soundfont, user_folder
from rwkv_music_kernels.choose import backends, choose_kernels

PACKAGES = [
    "torch",
    "numba",
    "numpy",
    "safetensors",
    "tokenizers",
    "mido",
    "symusic",
    "music21",
    "verovio",
    "midirenderer",
    "pretty_midi",
    "gradio",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--soundfont", type=Path, metavar="FILE", help="look whether this soundfont can be used")


def run(args: argparse.Namespace) -> int:
    """Print the findings; return 1 when something that `generate` needs is missing."""
    fit = True
    for topic, text, good in findings(args.soundfont):
        fit = fit and good
        print(f"{topic + ':':12} {'' if good else '!! '}{text}")
    return 0 if fit else 1


def findings(soundfont: Path | None) -> Iterator[tuple[str, str, bool]]:
    """(topic, text, whether it is as it should be), one finding after another."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    yield "rwkv-music", f"{__version__}, Python {platform.python_version()}, {system}", True
    yield "program", f"{Path(__file__).parents[1]} run by {sys.executable}", True
    for package in PACKAGES:
        yield package, *_installed(package)
    yield "device", f"cpu with {torch.get_num_threads()} threads", True
    yield "CUDA", _cuda(), True
    yield from _kernels()
    try:
        yield "soundfont", str(find_soundfont(soundfont)), True
    except UserError as error:
        yield "soundfont", str(error), False
    yield (
        "your fonts",
        f"{user_folder()} ({'there' if user_folder().is_dir() else 'not there; .sf2 files go here'})",
        True,
    )
    yield "cache", _cache(), True
    yield from _models()


def _installed(package: str) -> tuple[str, bool]:
    try:
        return version(package), True
    except PackageNotFoundError:
        return f"missing; mend with: pip install {package}", False


def _cuda() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    return "no device that this build of torch can use"


def _kernels() -> Iterator[tuple[str, str, bool]]:
    chosen = type(choose_kernels("cpu")).__name__
    yield "kernels", f"{chosen} on the cpu", True
    for backend in backends("cpu"):
        yield f"  {backend.name}", backend.reason if backend.usable else f"not used: {backend.reason}", True


def _cache() -> str:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    return f"compiled kernels lie in {folder}" if folder else "compiled kernels lie beside the package"


def _models() -> Iterator[tuple[str, str, bool]]:
    names = embedded_models()
    if DEFAULT_MODEL not in names:
        yield "model", f"the embedded model {DEFAULT_MODEL} is missing; install the package anew", False
    for name in names:
        weights = find_model(name).weights
        yield "model", f"{name}: {weights} ({weights.stat().st_size / 2**20:.1f} MiB)", True
