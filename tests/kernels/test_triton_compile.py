"""The check that compiles every kernel for GPUs that are not here sees what it is there to see.

That all kernels pass it is told by test_triton_wkv.py, which runs the check itself.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="the extra `gpu` is not installed", exc_type=ImportError)

FOLDER = Path(__file__).parents[2] / "kernels" / "rwkv_music_kernels" / "triton"

GREEDY = """
import triton, triton.language as tl
from rwkv_music_kernels.triton.targets import compile_case

@triton.jit
def greedy(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    s = tl.load(x + i[:, None] * N + i[None, :])
    for t in range(100):
        s = s * tl.sum(s * tl.load(x + t * N + i)[None, :], axis=1)[:, None]
    tl.store(out + i[:, None] * N + i[None, :], s)

@triton.jit
def product(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    tl.store(out + at, tl.dot(tl.load(x + at), tl.trans(tl.load(x + at))))

for architecture in (80, "gfx942"):
    for size in (16, 128):
        found = compile_case((greedy, {"x": "*fp32", "out": "*fp32"}, {"N": size}, 1, "greedy"), architecture)
        print(found.fits, found.spilled > 0)
print(compile_case((product, {"x": "*bf16", "out": "*fp32"}, {"N": 32}, 4, "product"), 80).shared > 0)
"""


INSTRUCTIONS = """
import re
from triton import compile as compile_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rwkv_music_kernels.triton.decode import compile_cases

for kernel, signature, constants, warps, label in compile_cases():
    for architecture in (80, 90, 100) if label.startswith("linear bf16") else ():
        whole = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
        source, target = ASTSource(kernel, whole, constants), GPUTarget("cuda", architecture, 32)
        made = compile_kernel(source, target=target, options={"num_warps": warps})
        print(*set(re.findall(r"(?:mma|wgmma|tcgen05)[.][a-z][.\\w]+", made.asm["ptx"])))
"""


@pytest.fixture
def alone(tmp_path):
    """Runs Python code in a process whose Triton compiles, into an empty cache."""
    own = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(FOLDER.parents[1])}

    def run(code: str) -> subprocess.CompletedProcess[str]:
        # Triton reads the source of its kernels from their file.
        script = tmp_path / "script.py"
        script.write_text(code)
        return subprocess.run([sys.executable, str(script)], env={**os.environ, **own}, capture_output=True, text=True)

    return run


def test_what_spills_and_what_shares_is_seen(alone):
    done = alone(GREEDY)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["True", "False", "False", "True"] * 2 + ["True"]


def test_what_spills_or_shares_too_much_does_not_fit():
    from rwkv_music_kernels.triton.targets import Compiled

    assert Compiled("kernel", "80", shared=1000, spilled=0, limit=1000).fits
    assert not Compiled("kernel", "80", shared=1001, spilled=0, limit=1000).fits
    assert not Compiled("kernel", "80", shared=0, spilled=4, limit=1000).fits


def test_few_rows_and_many_are_multiplied_by_the_same_instruction(alone):
    done = alone(INSTRUCTIONS)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"] * 6


def test_a_module_without_kernels_to_compile_is_an_error(alone):
    for name, error in (("not_there", "ModuleNotFoundError"), ("sequences", "AttributeError")):
        done = alone(f"from rwkv_music_kernels.triton.targets import cases\ncases(['{name}'])")
        assert done.returncode == 1 and error in done.stderr


def test_every_module_that_offers_kernels_is_checked():
    from rwkv_music_kernels.triton.targets import MODULES

    assert {path.stem for path in FOLDER.glob("*.py") if "def compile_cases" in path.read_text()} == set(MODULES)
