"""How fast a training step is: beside the plain recurrence, and beside the same model without any recurrence at all."""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import per_second
from report import rounds

from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_kernels.contract import Kernels
from rwkv_music_kernels.elementwise import PlainElementwise
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.learning.making import make_learner
from rwkv_music_training.learning.packing import Batch, pack
from rwkv_music_training.learning.stepping import Stepper
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import Parallel, setup


class WithoutRecurrence(PlainElementwise, Kernels):
    """Sums of the inputs where a recurrence would be: what all the rest of a step costs, the bound of any kernel."""

    name = "without"

    def wkv4(self, k, v, w, u, state, cu_seqlens=None):
        return (k + v + w + u).to(v.dtype), state

    def wkv6(self, r, k, v, w, u, state, cu_seqlens=None):
        return (r + k + v + w + u).to(v.dtype), state

    def wkv7(self, r, w, k, v, a, b, state, cu_seqlens=None):
        return (r + w + k + v + a + b).to(v.dtype), state


def measure(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second of forward, backward and optimiser, and of the whole loop, for every number type asked for."""
    layers, width = map(int, options.shape.split("x"))
    weights = dict(RandomWeights(standard_spec(kind, layers, width, options.vocabulary)))
    rows, length = (options.rows or [4])[0], options.tokens or 512
    contenders = {"ours": choose_kernels("cpu"), "naive": ReferenceKernels(), "without": WithoutRecurrence()}
    parallel = setup(Layout(accelerator="cpu"))
    threads = torch.get_num_threads()
    results = []
    for dtype in options.dtypes:
        pieces = min(threads, rows)
        config = TrainingConfig().but(
            machine={"precision": dtype, "threads": threads},
            data={"tokens_per_step": rows * length, "pieces": pieces, "window": length + 1},
            habits={"read_every": 0},
        )
        steps = {
            name: bare_step(config, kernels, weights, rows, length, parallel) for name, kernels in contenders.items()
        }
        with tempfile.TemporaryDirectory() as folder:
            steps["loop"] = loop_step(config, weights, rows, length, parallel, Path(folder))
            speed = rounds(steps, options.rounds)
        row = {"measure": "train", "version": kind, "shape": options.shape, "dtype": dtype}
        row |= {"rows": rows, "length": length}
        row |= {f"{name}_tokens_per_s": round(value, 1) for name, value in speed.items()}
        row["times_naive"] = round(speed["ours"] / speed["naive"], 2)
        row["share_of_bound"] = round(speed["ours"] / speed["without"], 3)
        row["loop_share_of_step"] = round(speed["loop"] / speed["ours"], 3)
        results.append(row)
    return results


class Always:
    """The same micro-batches at every step."""

    per_epoch = 1

    def __init__(self, batches: list[Batch]):
        self._batches = batches

    def at(self, step: int, process: int = 0, processes: int = 1) -> list[Batch]:
        return self._batches


def documents_of(rows: int, length: int, vocabulary: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, vocabulary, (rows, length + 1)))


def bare_step(
    config: TrainingConfig,
    kernels: Kernels,
    weights: Mapping[str, torch.Tensor],
    rows: int,
    length: int,
    parallel: Parallel,
) -> Callable[[], float]:
    """A training step on random tokens, the documents of a batch shared out among the threads as in training."""
    vocabulary = len(weights["emb.weight"])
    learner = make_learner(config, vocabulary, kernels, weights)
    documents = documents_of(rows, length, vocabulary)
    each = -(-rows // config.data.pieces)
    batches = [pack(documents[start : start + each], number=start) for start in range(0, rows, each)]
    stepper = Stepper(learner, Always(batches), parallel)
    rate = config.optimiser.final_learning_rate
    return lambda: per_second(rows * length, lambda: stepper.step(0, rate))


def loop_step(
    config: TrainingConfig,
    weights: Mapping[str, torch.Tensor],
    rows: int,
    length: int,
    parallel: Parallel,
    folder: Path,
) -> Callable[[], float]:
    """The same as one turn of the loop: the order of documents, packing, schedule, counters and telling as well."""
    vocabulary = len(weights["emb.weight"])
    lesson = Lesson("abc", vocabulary, Listed(documents_of(50 * rows, length, vocabulary)))
    run = Run(config, lesson, folder, parallel, weights=weights)
    return lambda: per_second(rows * length, run._step)
