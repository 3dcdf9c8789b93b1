"""How measurements are taken and told: rounds in which all take turns, processes of their own, the machine, a picture."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import torch

    packages = {name: version(name) for name in ("rwkv-music", "torch", "numba", "numpy")}
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        **packages,
    }


def processor() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def rounds(contenders: dict[str, Callable[[], float]], count: int) -> dict[str, float]:
    """The median of what each contender returns, over `count` rounds in which they take turns, after one unmeasured."""
    for contender in contenders.values():
        contender()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(count):
        for name, contender in contenders.items():
            found[name].append(contender())
    return {name: statistics.median(values) for name, values in found.items()}


def in_own_process(
    measure: Callable[[str, argparse.Namespace], list[dict[str, Any]]], kind: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """`measure(kind, options)` in a forked child: PyPI `rwkv` picks its version once, when it is imported."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "w") as out:
            json.dump(measure(kind, options), out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        text = lines.read()
    os.waitpid(child, 0)
    if not text:
        raise SystemExit(f"the measurement of version {kind} failed; see above")
    return json.loads(text)


def alone(code: str, *words: str, **environment: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()[-1]


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """A bar for every number that is a speed, seconds or memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = []
    for row in results:
        label = " ".join(str(row[name]) for name in ("version", "file", "dtype") if name in row)
        bars += [
            (f"{label} {name}", value)
            for name, value in row.items()
            if name.endswith(("_per_s", "_s", "_mib", "seconds"))
        ]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(bars)))
    axes.barh([name for name, _ in bars], [value for _, value in bars])
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)
