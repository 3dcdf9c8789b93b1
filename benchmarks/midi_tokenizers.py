"""How fast MIDI becomes tokens, ours beside MidiTok's REMI.

    python benchmarks/midi_tokenizers.py FOLDER --json out.json

FOLDER is searched for .mid files. Every file's bytes are in memory; the ways take turns, a block of files each, so that
a machine that is busy or throttled slows them alike. CPU seconds of the one process are counted, not the clock's.
Without MidiTok (`pip install miditok`) its column is left out.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence, Sized
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import symusic

from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.symusic_scores import from_symusic, from_symusic_many

BLOCK = 100
# From the bytes of a block of files to their tokens.
Way = Callable[[list[bytes]], Sequence[Sized]]


def main() -> None:
    options = arguments()
    paths = sorted(options.folder.rglob("*.mid"))[: options.limit]
    if not paths:
        sys.exit(f"{options.folder}: no .mid files here")
    files = [path.read_bytes() for path in paths]
    notes = sum(from_symusic(symusic.Score.from_midi(file)).count for file in files)
    report = {"machine": machine(), "files": len(files), "notes": notes, "load before": os.getloadavg()}
    report["ways"] = measure(ways(), files, notes, options.rounds)
    report["load after"] = os.getloadavg()
    text = json.dumps(report, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=300, help="files at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the report here")
    return parser.parse_args()


def ways() -> dict[str, Way]:
    notes = NoteTokenizer()
    found: dict[str, Way] = {
        "symusic alone": lambda files: [() for file in files if symusic.Score.from_midi(file)],
        "symusic, columns": lambda files: [() for _ in from_symusic_many(scores(files))],
        "notes": lambda files: notes.encode_many(from_symusic_many(scores(files))),
        "notes, file by file": lambda files: [notes.encode(from_symusic(score)) for score in scores(files)],
    }
    if find_spec("miditok"):
        found["MidiTok REMI"] = remi()
    return found


def scores(files: list[bytes]) -> list[Any]:
    return [symusic.Score.from_midi(file) for file in files]


def remi() -> Way:
    """REMI with what notes tell too: programs, tempos, meters."""
    from miditok import REMI, TokenizerConfig

    tokenizer: Any = REMI(TokenizerConfig(use_programs=True, use_tempos=True, use_time_signatures=True))
    return lambda files: [tokenizer.encode(score).ids for score in scores(files)]


def measure(ways: dict[str, Way], files: list[bytes], notes: int, rounds: int) -> dict[str, dict[str, float]]:
    """By way: the files a second in its best round, and the tokens a note."""
    seconds = {name: [0.0] * rounds for name in ways}
    tokens = dict.fromkeys(ways, 0)
    # The first round fills caches and counts tokens.
    for turn in range(-1, rounds):
        for begin in range(0, len(files), BLOCK):
            for name, way in ways.items():
                started = time.process_time()
                made = way(files[begin : begin + BLOCK])
                if turn >= 0:
                    seconds[name][turn] += time.process_time() - started
                else:
                    tokens[name] += sum(map(len, made))
    return {
        name: {
            "files a second": round(len(files) / min(spent)),
            "files a second, worst round": round(len(files) / max(spent)),
            "tokens a note": round(tokens[name] / notes, 2),
        }
        for name, spent in seconds.items()
    }


def machine() -> dict[str, object]:
    versions = {"python": sys.version.split()[0]}
    for package in ("numpy", "symusic", "miditok"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return {"platform": platform.platform(), "cores": os.cpu_count(), "versions": versions}


if __name__ == "__main__":
    main()
