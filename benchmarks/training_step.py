"""How fast a training step is: beside the plain recurrence, and beside the same model without any recurrence at all."""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from contenders import per_second
from report import rounds

from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_kernels.contract import Kernels
from rwkv_music_kernels.elementwise import PlainElementwise
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_training.batches import Batch
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.learner import Learner


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
    """Tokens a second of forward, backward and optimiser, for every number type asked for."""
    layers, width = map(int, options.shape.split("x"))
    weights = dict(RandomWeights(standard_spec(kind, layers, width, options.vocabulary)))
    rows, length = (options.rows or [4])[0], options.tokens or 512
    contenders = {"ours": choose_kernels("cpu"), "naive": ReferenceKernels(), "without": WithoutRecurrence()}
    results = []
    for dtype in options.dtypes:
        config = TrainingConfig(
            layers=layers, width=width, precision=dtype, threads=torch.get_num_threads(), average=0.0, dropout=0.0
        )
        steps = {name: step(config, kernels, weights, rows, length) for name, kernels in contenders.items()}
        speed = rounds(steps, options.rounds)
        row = {"measure": "train", "version": kind, "shape": options.shape, "dtype": dtype}
        row |= {"rows": rows, "length": length}
        row |= {f"{name}_tokens_per_s": round(value, 1) for name, value in speed.items()}
        row["times_naive"] = round(speed["ours"] / speed["naive"], 2)
        row["share_of_bound"] = round(speed["ours"] / speed["without"], 3)
        results.append(row)
    return results


def step(
    config: TrainingConfig, kernels: Kernels, weights: dict[str, torch.Tensor], rows: int, length: int
) -> Callable[[], float]:
    """A training step on random tokens, the rows of a batch shared out among the threads as in training."""
    learner = Learner(config, kernels, weights)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randint(0, learner.spec.vocabulary, (2, rows, length), generator=generator)
    counted = torch.ones_like(inputs, dtype=torch.bool)
    shares = zip(*(x.chunk(min(config.threads, rows)) for x in (inputs, targets, counted)), strict=True)
    pieces = [Batch(*share) for share in shares]
    return lambda: per_second(rows * length, lambda: learner.learn(pieces, config.final_learning_rate, 0))
