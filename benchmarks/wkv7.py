"""Time every backend of RWKV-7's recurrence side by side: `python benchmarks/wkv7.py --json out.json`.

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

import torch

from rwkv_music_kernels.choose import backends, choose_kernels
from rwkv_music_kernels.contract import LEAST_LOG_DECAY, Kernels

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
        runs[f"{name} forward"] = forward(kernels, tensors)
        runs[f"{name} forward+backward"] = forward_and_backward(kernels, tensors)
        runs[f"{name} one token"] = forward(kernels, [*(x[:1, :1].contiguous() for x in tensors[:6]), tensors[6][:1]])
    report = {"machine": machine(options.device), "shape": vars(options), "milliseconds": measure(runs, options)}
    report["machine"]["load after"] = os.getloadavg()
    text = json.dumps(report, indent=2, default=str)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    """r, w, k, v, a, b, state as RWKV-7 makes them."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, options.tokens, options.heads, options.head_size)
    r, w, k, v, away, rate = (torch.randn(shape, generator=generator) for _ in range(6))
    away = torch.nn.functional.normalize(away, dim=-1)
    tensors = [r, LEAST_LOG_DECAY * w.sigmoid(), k, v, -away, away * rate.sigmoid()]
    state = torch.zeros(options.batch, options.heads, options.head_size, options.head_size)
    return [*(x.to(options.device, DTYPES[options.dtype]) for x in tensors), state.to(options.device)]


def forward(kernels: Kernels, tensors: list[torch.Tensor]) -> Callable[[], object]:
    def run() -> object:
        r, w, k, v, a, b, state = tensors
        with torch.inference_mode():
            return kernels.wkv7(r, w, k, v, a, b, state)

    return run


def forward_and_backward(kernels: Kernels, tensors: list[torch.Tensor]) -> Callable[[], object]:
    r, w, k, v, a, b, state = leaves = [x.clone().requires_grad_() for x in tensors]
    weights = torch.ones_like(v)

    def run() -> object:
        y, _ = kernels.wkv7(r, w, k, v, a, b, state)
        return torch.autograd.grad(y, leaves, weights)

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
