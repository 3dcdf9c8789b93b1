"""How fast the engine reads, writes and learns, beside PyPI `rwkv`, llama.cpp, and the bare reading of the weights.

    python benchmarks/engine.py decode 7 4 5.2 6 --shape 12x768 --dtypes float32 bfloat16 int8
    python benchmarks/engine.py prefill 7 --dtypes float32 --tokens 1024
    python benchmarks/engine.py batch 7 --dtypes bfloat16 --rows 1 8 32
    python benchmarks/engine.py load 7 --shape 24x1024 --suffixes .pth .safetensors .gguf
    python benchmarks/engine.py first
    python benchmarks/engine.py memory 7 --dtypes float32 bfloat16 int8
    python benchmarks/engine.py train 4 5.2 6 7 --shape 8x256 --vocabulary 128 --dtypes float32 bfloat16

Weights are random: they prove speed, never quality. They are stored in bfloat16, as official ones are, and our engine
reads them as that in float32 too, while the floor of float32 reads four bytes for each; `--stored float32` measures
what bfloat16 does not hold. Every round times all contenders one after the other, so that a ratio is of the same
minute; what is printed, and written as JSON with `-o` and as a picture with `--plot`, are medians. llama.cpp takes part
where PyPI `xllamacpp` is installed, which carries it compiled, and reads the GGUF files we write.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contenders import (
    LLAMA,
    RWKV,
    checkpoint,
    floor,
    llama_decoder,
    llama_is_here,
    our_decoder,
    peer_decoder,
    peer_model,
    per_second,
)
from report import alone, in_own_process, machine, plot, rounds

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
# The most memory at each stage, and what is in use when it is over.
MEMORY = """
import json, resource, sys
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def used(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
path, dtype, tokens = sys.argv[1], sys.argv[2], int(sys.argv[3])
if sys.argv[4] == "ours":
    from rwkv_music.engine import Engine as Model
    def open_model(): return Model.open(path, dtype=dtype)
    def read(ids, state): return model.advance(ids, state)[1]
else:
    from rwkv.model import RWKV as Model
    def open_model(): return Model(model=path.removesuffix(".pth"), strategy=sys.argv[4])
    def read(ids, state): return model.forward(ids, state)[1]
found = {"imports_mib": used()}
model = open_model()
state = read([1], None)
found |= {"opened_mib": used(), "opening_peak_mib": peak()}
read([1 + n % 100 for n in range(tokens)], None)
found |= {"reading_peak_mib": peak()}
before = used()
for n in range(200):
    state = read([1 + n % 100], state)
print(json.dumps(found | {"grown_by_writing_mib": used() - before}))
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
    parser.add_argument("--dtypes", nargs="+", default=["float32"], help="what is computed with")
    parser.add_argument(
        "--stored",
        choices=["bfloat16", "float32"],
        default="bfloat16",
        help="what the checkpoint holds (default: bfloat16, as official ones do)",
    )
    parser.add_argument(
        "--tokens", type=int, default=0, help="tokens a round (default: 40 decoded, 1024 read, 512 a row)"
    )
    parser.add_argument("--rows", type=int, nargs="+", help="pieces at once (default: 1 8 32, and 4 to learn from)")
    parser.add_argument("--suffixes", nargs="+", default=[".pth", ".safetensors"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="without PyPI rwkv and llama.cpp")
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    parser.add_argument("--plot", type=Path, help="draw them")
    options = parser.parse_args()
    options.versions = options.versions or ["7"]
    if unknown := set(options.versions) - set(VERSIONS):
        parser.error(f"no version {', '.join(sorted(unknown))}; there are {', '.join(VERSIONS)}")
    return options


def decode(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second, one after the other, with the read floor of the same bytes."""
    return [row for kind in options.versions for row in in_own_process(_decode, kind, options)]


def _decode(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    import torch

    tokens = options.tokens or 40
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint(Path(folder), kind, options.shape, options.vocabulary, options.stored)
        for dtype in options.dtypes:
            contenders = {"ours": our_decoder(path, dtype, tokens), "floor": floor(path, dtype)}
            if not options.alone and (kind, dtype) in RWKV:
                contenders["rwkv"] = peer_decoder(path, kind, dtype, tokens)
            if not options.alone and (kind, dtype) in LLAMA and llama_is_here():
                contenders["llama"] = llama_decoder(path, dtype, tokens, torch.get_num_threads())
            speed = rounds(contenders, options.rounds)
            row = {"measure": "decode", "version": kind, "shape": options.shape, "dtype": dtype}
            row |= {f"{name}_tokens_per_s": round(value, 1) for name, value in speed.items()}
            row["share_of_floor"] = round(speed["ours"] / speed["floor"], 3)
            row |= {
                f"times_{peer}": round(speed["ours"] / speed[peer], 2) for peer in ("rwkv", "llama") if peer in speed
            }
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
        path = checkpoint(Path(folder), kind, options.shape, options.vocabulary, options.stored)
        for dtype in options.dtypes:
            from rwkv_music.engine import Engine

            engine = Engine.open(path, dtype=dtype)
            contenders: dict[str, Callable[[], float]] = {
                "ours": lambda engine=engine: per_second(tokens, lambda: engine.advance(ids))
            }
            if not options.alone and (kind, dtype) in RWKV:
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
        path = checkpoint(Path(folder), kind, options.shape, options.vocabulary, options.stored)
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

            speed = rounds(
                {str(rows): lambda rows=rows: steps(rows) for rows in options.rows or (1, 8, 32)}, options.rounds
            )
            row = {"measure": "batch", "version": kind, "shape": options.shape, "dtype": dtype}
            results.append(row | {f"{rows}_rows_tokens_per_s": round(value, 1) for rows, value in speed.items()})
    return results


def load(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds to open and to the first token, and the peak of memory, for each form of file."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.versions:
            path = checkpoint(Path(folder), kind, options.shape, options.vocabulary, options.stored)
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


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """MiB in use and at most: imports, the model opened, a prompt read at once, and what 200 tokens more add."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.versions:
            path = checkpoint(Path(folder), kind, options.shape, options.vocabulary, options.stored)
            for dtype in options.dtypes:
                whose = {"ours": "ours"}
                if not options.alone and (kind, dtype) in RWKV:
                    whose["rwkv"] = f"cpu {'fp32' if dtype == 'float32' else 'bf16'}"
                for name, strategy in whose.items():
                    row = {"measure": "memory", "version": kind, "shape": options.shape, "dtype": dtype, "of": name}
                    words = [str(path), dtype, str(options.tokens or 1024), strategy]
                    found = json.loads(alone(MEMORY, *words, RWKV_V7_ON="1" if kind == "7" else "0"))
                    results.append(row | {stage: round(value, 1) for stage, value in found.items()})
    return results


def train(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second of a training step, beside the plain recurrence and the bound without one."""
    from training_step import measure

    return [row for kind in options.versions for row in measure(kind, options)]


MEASURES = {
    "decode": decode,
    "prefill": prefill,
    "batch": batch,
    "load": load,
    "first": first,
    "memory": memory,
    "train": train,
}

if __name__ == "__main__":
    main()
