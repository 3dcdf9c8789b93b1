"""How fast the engine reads and writes, beside PyPI `rwkv` and beside the time it takes to read the weights at all.

    python benchmarks/engine.py decode 7 4 5.2 6 --shape 12x768 --dtypes float32 bfloat16 int8
    python benchmarks/engine.py prefill 7 --dtypes float32 --tokens 1024
    python benchmarks/engine.py batch 7 --dtypes bfloat16 --rows 1 8 32
    python benchmarks/engine.py load 7 --shape 24x1024 --suffixes .pth .safetensors .gguf
    python benchmarks/engine.py first

Weights are random: they prove speed, never quality. Every round times all contenders one after the other, so that a
ratio is of the same minute; what is printed, and written as JSON with `-o` and as a picture with `--plot`, are medians.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

VERSIONS = ("4", "5.0", "5.1", "5.2", "6", "7")
# What each prints is one JSON line: run in a process of its own, where nothing else has used memory or made caches.
LOAD = """
import json, resource, sys, time
from rwkv_music.engine import Engine
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
engine = Engine.open(sys.argv[1], dtype=sys.argv[2])
opened = time.perf_counter() - start
engine.advance([1])
first = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"open_s": opened, "first_token_s": first, "peak_mib": peak / 1024, "imports_mib": before / 1024}))
"""


def main() -> None:
    options = arguments()
    results = {"machine": machine(), "command": " ".join(sys.argv), "results": MEASURES[options.what](options)}
    for row in results["results"]:
        print(json.dumps(row))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    if options.plot:
        plot(results["results"], options.plot)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the engine on this machine.")
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"of {', '.join(VERSIONS)} (default: 7)")
    parser.add_argument("--shape", default="12x768", metavar="LxC")
    parser.add_argument("--vocabulary", type=int, default=20096)
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--tokens", type=int, default=0, help="tokens a round (default: 40 decoded, 1024 read)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--suffixes", nargs="+", default=[".pth", ".safetensors"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="without PyPI rwkv")
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    parser.add_argument("--plot", type=Path, help="draw them")
    options = parser.parse_args()
    options.versions = options.versions or ["7"]
    if unknown := set(options.versions) - set(VERSIONS):
        parser.error(f"no version {', '.join(sorted(unknown))}; there are {', '.join(VERSIONS)}")
    return options


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


def checkpoint(folder: Path, kind: str, options: argparse.Namespace) -> Path:
    """A random checkpoint of that version, bfloat16, in the official form."""
    path = folder / f"rwkv-{kind}.pth"
    maker = Path(__file__).with_name("make_checkpoint.py")
    words = [kind, "--shape", options.shape, "--vocabulary", str(options.vocabulary), "-o", str(path)]
    subprocess.run([sys.executable, str(maker), *words], check=True, stdout=subprocess.DEVNULL)
    return path


def rounds(contenders: dict[str, Callable[[], float]], count: int) -> dict[str, float]:
    """The median of what each contender returns, over `count` rounds in which they take turns, after one unmeasured."""
    for contender in contenders.values():
        contender()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(count):
        for name, contender in contenders.items():
            found[name].append(contender())
    return {name: statistics.median(values) for name, values in found.items()}


def decode(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second, one after the other, with the read floor of the same bytes."""
    return [row for kind in options.versions for row in in_own_process(_decode, kind, options)]


def _decode(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    tokens = options.tokens or 40
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(Path(folder), kind, options)
        for dtype in options.dtypes:
            contenders = {"ours": our_decoder(path, dtype, tokens), "floor": floor(path, dtype)}
            if not options.alone and kind in ("4", "5.2", "6", "7") and dtype != "int8":
                contenders["rwkv"] = peer_decoder(path, kind, dtype, tokens)
            speed = rounds(contenders, options.rounds)
            row = {"measure": "decode", "version": kind, "shape": options.shape, "dtype": dtype}
            row |= {f"{name}_tokens_per_s": round(value, 1) for name, value in speed.items()}
            row["share_of_floor"] = round(speed["ours"] / speed["floor"], 3)
            if "rwkv" in speed:
                row["times_rwkv"] = round(speed["ours"] / speed["rwkv"], 2)
            results.append(row)
    return results


def prefill(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second of a prompt read at once."""
    return [row for kind in options.versions for row in in_own_process(_prefill, kind, options)]


def _prefill(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    import torch

    tokens = options.tokens or 1024
    ids = torch.randint(0, options.vocabulary, (tokens,)).tolist()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(Path(folder), kind, options)
        for dtype in options.dtypes:
            from rwkv_music.engine import Engine

            engine = Engine.open(path, dtype=dtype)
            contenders: dict[str, Callable[[], float]] = {
                "ours": lambda engine=engine: per_second(tokens, lambda: engine.advance(ids))
            }
            if not options.alone and kind in ("4", "5.2", "6", "7") and dtype != "int8":
                peer = peer_model(path, kind, dtype)
                contenders["rwkv"] = lambda peer=peer: per_second(tokens, lambda: peer.forward(ids, None))
            speed = rounds(contenders, options.rounds)
            row = {"measure": "prefill", "version": kind, "shape": options.shape, "dtype": dtype, "tokens": tokens}
            row |= {f"{name}_tokens_per_s": round(value, 1) for name, value in speed.items()}
            if "rwkv" in speed:
                row["times_rwkv"] = round(speed["ours"] / speed["rwkv"], 2)
            results.append(row)
    return results


def batch(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second of all rows together, each row decoding its own piece."""
    return [row for kind in options.versions for row in in_own_process(_batch, kind, options)]


def _batch(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    import torch

    from rwkv_music.engine import Engine

    tokens = options.tokens or 16
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(Path(folder), kind, options)
        for dtype in options.dtypes:
            engine = Engine.open(path, dtype=dtype)

            def steps(rows: int, engine: Engine = engine) -> float:
                ids = torch.randint(0, options.vocabulary, (rows, 1))
                state = engine.beginning(rows)

                def run() -> None:
                    own = state
                    for _ in range(tokens):
                        _, own = engine.advance(ids, own)

                return per_second(rows * tokens, run)

            speed = rounds({str(rows): lambda rows=rows: steps(rows) for rows in options.rows}, options.rounds)
            row = {"measure": "batch", "version": kind, "shape": options.shape, "dtype": dtype}
            results.append(row | {f"{rows}_rows_tokens_per_s": round(value, 1) for rows, value in speed.items()})
    return results


def load(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds to open and to the first token, and the peak of memory, for each form of file."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.versions:
            path = checkpoint(Path(folder), kind, options)
            for suffix in options.suffixes:
                other = path.with_suffix(suffix)
                if suffix != ".pth":
                    words = ["models", "convert", str(path), str(other)]
                    subprocess.run([sys.executable, "-m", "rwkv_music", *words], check=True, capture_output=True)
                for dtype in options.dtypes:
                    runs = [json.loads(alone(LOAD, str(other), dtype)) for _ in range(options.rounds)]
                    row = {"measure": "load", "version": kind, "shape": options.shape, "file": suffix, "dtype": dtype}
                    row["file_mib"] = round(other.stat().st_size / 2**20, 1)
                    row |= {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
                    results.append(row)
    return results


def first(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds to the first token of abc-folk: with compiled kernels on disk, and compiled anew."""
    results = []
    for dtype in options.dtypes:
        for cached in (True, False):
            seconds = []
            for _ in range(options.rounds if cached else 1):
                with tempfile.TemporaryDirectory() as empty:
                    environment = {} if cached else {"NUMBA_CACHE_DIR": empty}
                    seconds.append(json.loads(alone(LOAD, "abc-folk", dtype, **environment))["first_token_s"])
            found = round(statistics.median(seconds), 3)
            results.append({"measure": "first token", "dtype": dtype, "cached": cached, "seconds": found})
    return results


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


def per_second(count: int, run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return count / (time.perf_counter() - start)


def our_decoder(path: Path, dtype: str, tokens: int) -> Callable[[], float]:
    from rwkv_music.engine import Engine

    engine = Engine.open(path, dtype=dtype)

    def run() -> None:
        state = None
        for token in range(1, tokens + 1):
            _, state = engine.advance([token], state)

    return lambda: per_second(tokens, run)


def peer_model(path: Path, kind: str, dtype: str) -> Any:
    os.environ.update(RWKV_V7_ON="1" if kind == "7" else "0", RWKV_JIT_ON="1", RWKV_CUDA_ON="0")
    from rwkv.model import RWKV

    return RWKV(model=str(path.with_suffix("")), strategy=f"cpu {'fp32' if dtype == 'float32' else 'bf16'}")


def peer_decoder(path: Path, kind: str, dtype: str, tokens: int) -> Callable[[], float]:
    model = peer_model(path, kind, dtype)

    def run() -> None:
        state = None
        for token in range(1, tokens + 1):
            _, state = model.forward([token], state)

    return lambda: per_second(tokens, run)


def floor(path: Path, dtype: str) -> Callable[[], float]:
    """How often a second all threads together could read the matrices that a token needs."""
    import torch

    weights = torch.load(path, mmap=True, weights_only=True)
    needed = [x for name, x in weights.items() if name.endswith(".weight") and x.dim() == 2 and name != "emb.weight"]
    size = sum(x.numel() for x in needed) * {"float32": 4, "bfloat16": 2, "int8": 1}[dtype]
    buffer = torch.ones(size // 4)
    return lambda: per_second(3, lambda: [buffer.sum() for _ in range(3)])


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


MEASURES = {"decode": decode, "prefill": prefill, "batch": batch, "load": load, "first": first}

if __name__ == "__main__":
    main()
