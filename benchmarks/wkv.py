"""Time every backend of a recurrence side by side: `python benchmarks/wkv.py wkv6 --json out.json`.

Backends take turns within each round, so a machine that is busy or throttled slows them alike; medians over rounds.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from rwkv_music_kernels.choose import backends, choose_kernels
from rwkv_music_kernels.contract import LEAST_LOG_DECAY, NO_LOGARITHM

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    names = options.backends or [backend.name for backend in backends(options.device) if backend.usable]
    tensors = inputs(options)
    runs: dict[str, Callable[[], object]] = {}
    for name in names:
        kernels = choose_kernels(options.device, name)
        recurrence = getattr(kernels, options.recurrence)
        runs[f"{name} forward"] = forward(recurrence, tensors)
        runs[f"{name} forward+backward"] = forward_and_backward(recurrence, tensors)
        runs[f"{name} one token"] = forward(recurrence, first_token(tensors))
    report = {"machine": machine(options.device), "shape": vars(options), "milliseconds": measure(runs, options)}
    report["machine"]["load after"] = os.getloadavg()
    text = json.dumps(report, indent=2, default=str)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recurrence", nargs="?", choices=MAKERS, default="wkv7")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, help="default: as many as torch takes")
    parser.add_argument("--backends", nargs="+", help="default: all that are usable")
    parser.add_argument("--json", type=Path, help="also write the report here")
    return parser.parse_args()


def inputs(options: argparse.Namespace) -> list[torch.Tensor]:
    """What the recurrence takes, rows in the number type asked for, all else in float32."""
    shape = (options.batch, options.tokens, options.heads, options.head_size)
    tensors = MAKERS[options.recurrence](shape, torch.Generator().manual_seed(0))
    types = (DTYPES[options.dtype] if is_row(x, tensors) else torch.float32 for x in tensors)
    return [x.to(options.device, dtype) for x, dtype in zip(tensors, types, strict=True)]


def is_row(x: torch.Tensor, tensors: list[torch.Tensor]) -> bool:
    """It has a row for each token, as the first of the tensors has."""
    return x.shape == tensors[0].shape and x is not tensors[-1]


def first_token(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """The first token of the first piece alone."""
    *given, state = tensors
    return [*(x[:1, :1].contiguous() if is_row(x, tensors) else x for x in given), state[:1]]


def wkv4(shape: tuple[int, ...], generator: torch.Generator) -> list[torch.Tensor]:
    """k, v, w, u, state, of as many channels as all heads have."""
    pieces, tokens, heads, size = shape
    k, v = (torch.randn(pieces, tokens, heads * size, generator=generator) for _ in range(2))
    w, u = (torch.randn(heads * size, generator=generator) for _ in range(2))
    state = torch.zeros(pieces, 3, heads * size)
    state[:, 2] = NO_LOGARITHM
    return [k, v, -w.exp(), u, state]


def wkv6(shape: tuple[int, ...], generator: torch.Generator) -> list[torch.Tensor]:
    """r, k, v, w, u, state."""
    pieces, _, heads, size = shape
    r, k, v, w = (torch.randn(shape, generator=generator) for _ in range(4))
    u = torch.randn(heads, size, generator=generator)
    return [r, k, v, -w.exp(), u, torch.zeros(pieces, heads, size, size)]


def wkv7(shape: tuple[int, ...], generator: torch.Generator) -> list[torch.Tensor]:
    """r, w, k, v, a, b, state as RWKV-7 makes them."""
    pieces, _, heads, size = shape
    r, w, k, v, away, rate = (torch.randn(shape, generator=generator) for _ in range(6))
    away = torch.nn.functional.normalize(away, dim=-1)
    state = torch.zeros(pieces, heads, size, size)
    return [r, LEAST_LOG_DECAY * w.sigmoid(), k, v, -away, away * rate.sigmoid(), state]


MAKERS = {"wkv4": wkv4, "wkv6": wkv6, "wkv7": wkv7}


def forward(recurrence: Callable[..., Any], tensors: list[torch.Tensor]) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return recurrence(*tensors)

    return run


def forward_and_backward(recurrence: Callable[..., Any], tensors: list[torch.Tensor]) -> Callable[[], object]:
    leaves = [x.clone().requires_grad_() for x in tensors]

    def run() -> object:
        y, _ = recurrence(*leaves)
        return torch.autograd.grad(y, leaves, torch.ones_like(y))

    return run


def measure(runs: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Median and least wall time of each run, and the median CPU time of all threads."""
    wait = torch.cuda.synchronize if torch.device(options.device).type == "cuda" else (lambda: None)
    walls: dict[str, list[float]] = {name: [] for name in runs}
    cpus: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 1):
        for name, run in runs.items():
            wait()
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            wait()
            # The first turn compiles and fills caches.
            if turn:
                walls[name].append(1e3 * (time.perf_counter() - wall))
                cpus[name].append(1e3 * (time.process_time() - cpu))
    return {
        name: {
            "median": round(statistics.median(walls[name]), 4),
            "least": round(min(walls[name]), 4),
            "cpu": round(statistics.median(cpus[name]), 4),
        }
        for name in runs
    }


def machine(device: str) -> dict[str, object]:
    versions = {"python": sys.version.split()[0]}
    for package in ("torch", "numba", "llvmlite", "numpy", "triton", "rwkv-music"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    place = torch.device(device)
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "accelerator": torch.cuda.get_device_name(place) if place.type == "cuda" else "none",
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "load before": os.getloadavg(),
        "versions": versions,
    }


def processor() -> str:
    """The name Linux gives, or what the platform knows."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
