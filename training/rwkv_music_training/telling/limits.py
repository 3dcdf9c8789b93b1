"""How fast a machine could train at best: its matrix products alone, at the speed that was measured on it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod

import torch

from rwkv_music.model.spec import Spec
from rwkv_music.model.versions import tensor_shapes

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
# Sides of the matrices: beyond the caches of a processor, and enough to fill a card.
CPU_SIDE, GPU_SIDE = 768, 8192
# Seconds that measuring takes, and the shortest that is believed.
MEASURED = 0.25


@dataclass(frozen=True)
class Limit:
    """The fastest that training could go on a machine."""

    # Of matrix products, operations a second on all threads or cards, and for each token there and back.
    flops_per_second: float
    flops_per_token: float

    @property
    def tokens_per_second(self) -> float:
        """What the products alone would allow."""
        return self.flops_per_second / self.flops_per_token

    def share(self, tokens_per_second: float) -> float:
        """How much of that is reached, 0..1."""
        return tokens_per_second / self.tokens_per_second


def training_flops(spec: Spec) -> int:
    """Operations of matrix products for a token: two for each number forward, four backward. Embeddings are looked up."""
    shapes = tensor_shapes(spec).items()
    return 6 * sum(
        prod(shape) for name, shape in shapes if name != "emb.weight" and sum(size > 1 for size in shape) > 1
    )


def measure_limit(spec: Spec, device: str, precision: str, threads: int, processes: int = 1) -> Limit:
    """Measure matrix products here, which takes a moment; of several processes all are counted alike."""
    dtype = DTYPES[precision]
    if torch.device(device).type == "cpu":
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            speed = sum(pool.map(partial(_products, device, dtype), [CPU_SIDE] * threads))
    else:
        speed = _products(device, dtype, GPU_SIDE)
    return Limit(processes * speed, training_flops(spec))


def _products(device: str, dtype: torch.dtype, side: int) -> float:
    """Operations a second of products of square matrices: the best of those that fit into the time."""
    square = torch.ones(side, side, device=device, dtype=dtype)
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < MEASURED:
        started = time.perf_counter()
        torch.mm(square, square)
        if square.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best
