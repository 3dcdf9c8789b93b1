"""Kill a run with -9 at random moments, resume it each time, and see whether anything but time was lost.

python benchmarks/kill_and_resume.py --kills 20                     one process: every loss and weight bit-equal
python benchmarks/kill_and_resume.py --kills 20 --processes 2       one of two is killed, the other must notice
python benchmarks/kill_and_resume.py --processes 1 2 4              a random one of these numbers at each resume: the same
python benchmarks/kill_and_resume.py --processes 1 2 4 --spread fsdp    the same but for rounding, which grows with steps
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from forking import fork, wait

from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.learning.watching import Quiet, Step
from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.found import steps_in
from rwkv_music_training.scale.keeping import Keeping
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import WorkerLost, setup

# Of losses in nats between runs on different numbers of processes that hold shares: their sums are float32.
TOLERANCE = 1e-6
# Seconds after a step that the kill may come: about a step and a checkpoint.
MOMENT = 0.1
# Seconds in which processes must notice that another one is gone.
NOTICE = 30.0


def config(steps: int) -> TrainingConfig:
    """A small model in float32, with everything that could be lost: average, dropout, warm-up, carried states."""
    return TrainingConfig.model_validate(
        {
            "seed": 7,
            "shape": {"layers": 2, "width": 32, "head_size": 32},
            "data": {"tokens_per_step": 128, "pieces": 4, "window": 32, "carry": True},
            "optimiser": {"dropout": 0.1, "average": 0.95},
            "schedule": {"steps": steps, "warmup": 5},
            "machine": {"precision": "float32", "threads": 1, "device": "cpu"},
            "habits": {"read_every": 0, "checkpoint_seconds": 1e-9, "keep": 2},
        }
    )


def lesson() -> Lesson:
    """Forty documents of random ids."""
    draw = np.random.default_rng(0)
    documents = [draw.integers(2, 20, size=draw.integers(5, 150)) for _ in range(40)]
    return Lesson("abc", 20, Listed(documents, ["random"] * len(documents)))


class Written(Quiet):
    """Appends the loss of each step to a file, every bit of it."""

    def __init__(self, path: Path):
        self._path = path

    def step(self, event: Step) -> None:
        with self._path.open("a") as file:
            file.write(f"{event.step} {event.loss.hex()}\n")


def train(folder: Path, layout: Layout, steps: int) -> int:
    """One life of the run: from its newest checkpoint to the end, if it lives so long."""
    parallel = setup(layout)
    keeping = Keeping(Checkpoints(folder / "checkpoints", parallel), config(steps), lesson())
    run = Run(config(steps), lesson(), folder, parallel, keeper=keeping, watchers=[Written(folder / "losses")])
    run.progress = keeping.resume(run.stepper.state()) or run.progress
    try:
        run.run()
    except WorkerLost as error:
        print(error, file=sys.stderr)
        return 3
    weights = parallel.gather(dict(run.stepper.learner.named_parameters()))
    if parallel.first:
        torch.save(weights, folder / "weights.pt")
    return 0


def losses(path: Path) -> list[tuple[int, float]]:
    """What lives have written; a line that a kill cut short is left out."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(int(step), float.fromhex(loss)) for step, loss in (line.split() for line in lines if line.count(" ") == 1)]


def ended_by(children: list[int], seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
    """Whether all end within some seconds, or before `until`; their exit codes are left for `wait`."""
    deadline = time.monotonic() + seconds
    left = set(children)
    while left and time.monotonic() < deadline and not until():
        left = {child for child in left if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None}
        time.sleep(0.002)
    return not left


def kill_and_resume(folder: Path, options: argparse.Namespace) -> dict[str, int]:
    """Lives of one run until it is over and was killed often enough. Returns counts of what happened."""
    draw = random.Random(options.seed)
    counts = {"kills": 0, "while a checkpoint was written": 0, "lives": 0, "noticed by the others": 0}
    # In all kills about two thirds of the run are reached, the last life does the rest.
    share = 1.3 * options.steps / max(1, options.kills)
    while True:
        world = draw.choice(options.processes)
        counts["lives"] += 1
        done = len(losses(folder / "losses")) + int(draw.uniform(0, share))
        children = fork(world, lambda world=world: train(folder, layout(options, world), options.steps))
        if counts["kills"] < options.kills:
            # At any moment of a step, of writing a checkpoint, or (0 steps) of beginning.
            over = ended_by(children, 600, lambda done=done: len(losses(folder / "losses")) >= done)
            over = over or ended_by(children, draw.uniform(0, MOMENT))
        else:
            over = ended_by(children, 600)
        if over:
            codes = wait(children)
            if any(codes):
                raise SystemExit(f"a life ended by itself with {codes}")
            return counts
        victim = draw.choice(children)
        counts["while a checkpoint was written"] += any((folder / "checkpoints").glob(".step-*.part"))
        os.kill(victim, signal.SIGKILL)
        counts["kills"] += 1
        if not ended_by(children, NOTICE):
            raise SystemExit(f"processes did not notice within {NOTICE:.0f} s that one was killed")
        codes = wait(children)
        counts["noticed by the others"] += codes.count(3)


def layout(options: argparse.Namespace, world: int) -> Layout:
    """The options of a life on so many processes."""
    return Layout(accelerator="cpu", spread=options.spread if world > 1 else "auto")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--spread", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    alone = len(set(options.processes)) == 1
    same = alone or options.spread == "ddp"
    with tempfile.TemporaryDirectory() as place:
        whole, killed = Path(place, "whole"), Path(place, "killed")
        whole.mkdir()
        killed.mkdir()
        world = options.processes[0] if alone else 1
        if any(wait(fork(world, lambda: train(whole, layout(options, world), options.steps)))):
            return 1
        told: dict[str, object] = dict(kill_and_resume(killed, options))
        expected, found = dict(losses(whole / "losses")), losses(killed / "losses")
        farthest = max(abs(loss - expected[step]) for step, loss in found)
        weights = [torch.load(folder / "weights.pt", weights_only=True) for folder in (whole, killed)]
        told |= {
            "steps": len(expected),
            "steps done again": len(found) - len(expected),
            "every step there": {step for step, _ in found} == set(expected),
            "largest difference of a loss": farthest,
            "weights bit-equal": all(torch.equal(one, weights[1][name]) for name, one in weights[0].items()),
            "checkpoints left": [path.name for path in steps_in(killed / "checkpoints")],
        }
    good = bool(told["every step there"]) and farthest <= (0 if same else TOLERANCE)
    good = good and (not same or bool(told["weights bit-equal"])) and int(str(told["kills"])) >= options.kills
    print(json.dumps(told | {"good": good}, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
