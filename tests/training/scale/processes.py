"""Runs that tests look at: `processes.py OUT` forks 1, 2, 4 and again 1 processes and leaves what they saw in OUT.

One interpreter with all imports is forked for each process, as torchrun would have started it: importing torch a dozen
times would take longer than all these runs.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from forking import fork, wait  # pyright: ignore[reportMissingImports]

from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.learning.watching import Quiet, Step
from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.keeping import Keeping
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup

STEPS = 5


def config(**changes) -> TrainingConfig:
    whole = TrainingConfig.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "shape": {"layers": 2, "width": 32, "head_size": 32},
            "data": {"tokens_per_step": 192, "pieces": 4, "window": 64},
            "optimiser": {"average": 0.9},
            "schedule": {"steps": STEPS, "warmup": 2},
            "machine": {"precision": "float32", "threads": 1, "device": "cpu"},
            "habits": {"read_every": 0, "checkpoint_seconds": 1e-9},
        }
    )
    return whole.but(**changes)


def lesson() -> Lesson:
    draw = np.random.default_rng(0)
    documents = [draw.integers(2, 120, size=draw.integers(5, 90)) for _ in range(40)]
    return Lesson("abc", 128, Listed(documents, ["a"] * len(documents)))


class Seen(Quiet):
    """The losses of a run; after `until` steps the run is asked to stop, which it does after one more."""

    def __init__(self, until: int):
        self.until = until
        self.losses: dict[int, float] = {}
        self.norms: list[float] = []

    def step(self, event: Step) -> None:
        self.losses[event.step] = event.loss
        self.norms.append(event.gradient_norm)
        if event.step == self.until:
            os.kill(os.getpid(), signal.SIGTERM)


def train(out: Path, name: str, layout: Layout, changes: Mapping[str, Any], until: int = STEPS) -> None:
    """One run, from its newest checkpoint if it has one. Leaves losses, the data read, and the weights at its end."""
    parallel = setup(layout)
    seen = Seen(until - 1)
    chosen = config(**changes)
    folder = out / name if name == "moving" else out / f"{name}-of-{parallel.world}"
    checkpoints = Checkpoints(folder / "checkpoints", parallel)
    keeping = Keeping(checkpoints, chosen, lesson())
    run = Run(chosen, lesson(), folder, parallel, keeper=keeping, watchers=[seen])
    if name == "moving":
        run.progress = keeping.resume(run.stepper.state()) or run.progress
    read = spied(run)
    run.run()
    place = out / f"{name}-{parallel.world}"
    weights = parallel.gather(dict(run.stepper.learner.named_parameters()))
    place.with_suffix(f".{parallel.rank}.read").write_text(json.dumps(read))
    if parallel.first:
        save_file(weights, place.with_suffix(".safetensors"))
        place.with_suffix(".json").write_text(json.dumps({"losses": seen.losses, "norms": seen.norms}))
    parallel.wait()


def spied(run: Run) -> list[tuple[int, int, str]]:
    """Filled as the run goes on: step, number and digest of every micro-batch that this process is given."""
    read: list[tuple[int, int, str]] = []
    at = run.batches.at

    def spy(step: int, process: int = 0, processes: int = 1):
        batches = at(step, process, processes)
        read.extend((step, one.number, hashlib.sha256(one.ids.numpy().tobytes()).hexdigest()) for one in batches)
        return batches

    run.batches.at = spy  # pyright: ignore[reportAttributeAccessIssue]
    return read


def main(out: Path) -> None:
    """All runs. A run of one process is the measure of those with the same config."""
    quiet: dict[str, Any] = {"habits": {"checkpoint_seconds": 1e9}}
    dropped: dict[str, Any] = {"optimiser": {"dropout": 0.1}}
    muon = quiet | {"optimiser": {"name": "muon"}}
    # So large that torch would share operations out among threads, which changes last digits.
    threaded = quiet | {
        "shape": {"layers": 1, "width": 64, "head_size": 32},
        "data": {"tokens_per_step": 2048, "pieces": 4, "window": 512},
        "machine": {"threads": 2},
    }
    carried = quiet | {"data": {"tokens_per_step": 128, "pieces": 4, "window": 32, "carry": True}}

    def one() -> None:
        train(out, "packed", Layout(), quiet)
        train(out, "muon", Layout(), muon, 2)
        train(out, "carried", Layout(), carried)
        train(out, "threaded", Layout(), threaded | {"machine": {"threads": 1}}, 3)
        train(out, "whole", Layout(), quiet | dropped)
        train(out, "moving", Layout(), dropped, 2)

    def two() -> None:
        train(out, "ddp", Layout(), quiet)
        train(out, "ddp32", Layout(sums="float32"), quiet)
        train(out, "threaded", Layout(), threaded, 3)
        train(out, "fsdp", Layout(spread="fsdp"), quiet)
        train(out, "muon", Layout(spread="fsdp"), muon, 2)
        train(out, "context", Layout(context=2), quiet)
        train(out, "moving", Layout(spread="fsdp"), dropped, 4)

    def four() -> None:
        train(out, "ddp", Layout(), quiet)
        train(out, "ddp32", Layout(sums="float32"), quiet)
        train(out, "fsdp", Layout(spread="fsdp"), quiet)
        train(out, "hsdp", Layout(spread="hsdp", copies=2), quiet)
        train(out, "context", Layout(context=4), quiet)
        train(out, "carried", Layout(context=2, spread="fsdp"), carried)
        train(out, "moving", Layout(), dropped, STEPS)

    for world, work in ((1, one), (2, two), (4, four)):
        if any(wait(fork(world, work))):
            raise SystemExit(f"one of {world} processes failed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
