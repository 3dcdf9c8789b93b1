"""The least time that a card can take: for moving the bytes of a computation, or for its products, whichever is longer."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from rwkv_music.model.spec import Spec
from rwkv_music.model.versions import tensor_shapes

# Bytes of a state's number: the pool is float32.
_STATE = 4


@dataclass(frozen=True)
class Work:
    """What a computation cannot do without: bytes through the memory, and operations of matrix products."""

    bytes: float
    flops: float = 0.0


@dataclass(frozen=True)
class Card:
    """What a card does at best, measured on it: bytes a second of a copy, read and written, and flops of a product."""

    name: str
    bytes_per_s: float
    flops_per_s: float

    def limit(self, work: Work) -> tuple[float, str]:
        """The least seconds, and which of the two sets them, "memory" or "matrix"."""
        memory, matrix = work.bytes / self.bytes_per_s, work.flops / self.flops_per_s
        return max((memory, "memory"), (matrix, "matrix"))


def measured_card(rounds: int, device: str, side: int = 8192) -> Card:
    """What a copy of side^2 float32 and a product of two bfloat16 matrices of that side reach."""
    source, square = torch.zeros(side, side, device=device), torch.randn(side, side, device=device).bfloat16()
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source), rounds, device)
    product = seconds(lambda: square @ square, rounds, device)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return Card(name, 2 * source.numel() * 4 / copy, 2 * side**3 / product)


def seconds(run: Callable[[], object], rounds: int, device: str) -> float:
    """The median of what a run takes, after three that compile and settle."""
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    found = []
    for _ in range(rounds + 3):
        wait()
        start = time.perf_counter()
        run()
        wait()
        found.append(time.perf_counter() - start)
    return statistics.median(found[3:])


def limited(row: dict[str, Any], took: float, work: Work, card: Card) -> dict[str, Any]:
    """A row of the report with its time, the card's limit and the share of it."""
    least, what = card.limit(work)
    return row | {"ms": took * 1e3, "limit_ms": least * 1e3, "limit": what, "share": least / took}


def operator(inputs: Sequence[Tensor], outputs: Sequence[Tensor], backward: bool) -> Work:
    """Everything read and written once; the backward pass reads inputs and gradients again and writes its own."""
    read, written = (sum(x.numel() * x.element_size() for x in tensors) for tensors in (inputs, outputs))
    return Work(3 * read + 2 * written if backward else read + written)


def matrix_numbers(spec: Spec) -> int:
    """Numbers in all matrices that a token is multiplied by; the embedding is only looked up in."""
    shapes = tensor_shapes(spec).items()
    return sum(prod(shape) for name, shape in shapes if name != "emb.weight" and sum(size > 1 for size in shape) > 1)


def state_numbers(spec: Spec) -> int:
    """Numbers in the state of a piece."""
    return spec.blank_memory(1, "meta").numel() + 2 * spec.layers * spec.width


def decoding(spec: Spec, rows: int, size: int) -> Work:
    """A token of every row: the matrices are read once, `size` bytes a number, each state is read and written."""
    matrices = matrix_numbers(spec)
    return Work(matrices * size + rows * 2 * state_numbers(spec) * _STATE, 2 * matrices * rows)


def reading(spec: Spec, tokens: int, size: int) -> Work:
    """Tokens of prompts: the matrices are read once."""
    matrices = matrix_numbers(spec)
    return Work(matrices * size, 2 * matrices * tokens)


def training(spec: Spec, tokens: int) -> Work:
    """A step on tokens: products forward and twice backward; AdamW reads and writes weights and two moments, float32."""
    matrices = matrix_numbers(spec)
    return Work(matrices * 4 * 7, 6 * matrices * tokens)
