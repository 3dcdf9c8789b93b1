"""Those who take part in a measurement: our engine, PyPI `rwkv`, llama.cpp, and the bare reading of the weights.

Each is made once, and is then a function that runs a round and returns tokens a second.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Versions and number types that each of the others can take.
RWKV = {(version, dtype) for version in ("4", "5.2", "6", "7") for dtype in ("float32", "bfloat16")}
# int8 is Q8_0 there: a scale for every 32 weights, and sums of int8.
LLAMA_TYPES = {"float32": "f32", "bfloat16": "bf16", "int8": "q8_0"}
LLAMA = {(version, dtype) for version in ("6", "7") for dtype in LLAMA_TYPES}


def checkpoint(folder: Path, kind: str, shape: str, vocabulary: int, stored: str = "bfloat16") -> Path:
    """A random checkpoint of that version in the official form, which is bfloat16 unless `stored` as something else."""
    path = folder / f"rwkv-{kind}.pth"
    maker = Path(__file__).with_name("make_checkpoint.py")
    words = [kind, "--shape", shape, "--vocabulary", str(vocabulary), "--dtype", stored, "-o", str(path)]
    subprocess.run([sys.executable, str(maker), *words], check=True, stdout=subprocess.DEVNULL)
    return path


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


def llama_is_here() -> bool:
    """PyPI `xllamacpp` carries llama.cpp compiled; `llama-cpp-python` is source only, and compiles for long."""
    return find_spec("xllamacpp") is not None


def llama_decoder(path: Path, dtype: str, tokens: int, threads: int) -> Callable[[], float]:
    """llama.cpp on our GGUF file of the checkpoint, by its own clock, which leaves its server out."""
    import xllamacpp

    kind = LLAMA_TYPES[dtype]
    converted = path.with_suffix(f".{kind}.gguf")
    words = ["models", "convert", str(path), str(converted), "--type", kind]
    subprocess.run([sys.executable, "-m", "rwkv_music", *words], check=True, capture_output=True)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(converted)
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.n_parallel, parameters.n_ctx, parameters.verbosity = 1, tokens + 8, 0
    server = xllamacpp.Server(parameters)
    asked = {"prompt": [1], "n_predict": tokens, "ignore_eos": True, "temperature": 0, "cache_prompt": False}

    def run() -> float:
        timings = server.handle_completions(asked)["timings"]
        return 1e3 * timings["predicted_n"] / timings["predicted_ms"]

    return run
