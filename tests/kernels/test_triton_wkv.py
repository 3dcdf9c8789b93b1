"""Triton's kernels: in its interpreter in a process of its own, and on a GPU where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rwkv_music_kernels.contract import LEAST_LOG_DECAY
from rwkv_music_kernels.reference import ReferenceKernels

pytest.importorskip("triton", reason="Triton is for Linux; pip install triton")


def test_in_the_interpreter():
    # Triton looks at TRITON_INTERPRET once, when it is imported.
    script = Path(__file__).with_name("triton_interpreted.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", str(script)],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=script.parents[2],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_kernel_fits_every_gpu_it_is_meant_for(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rwkv_music_kernels.triton.targets"],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-1000:] + "\n".join(line for line in lines if line.startswith("!!"))
    assert {line[2:].split()[0] for line in lines} == {"80", "90", "100", "120", "gfx942"}


@pytest.mark.cuda
@pytest.mark.parametrize("dtype, within", [(torch.float32, 1e-5), (torch.bfloat16, 5e-3), (torch.float16, 5e-3)])
@pytest.mark.parametrize("tokens", [1, 63, 64, 257])
def test_on_a_gpu(dtype, within, tokens):
    from rwkv_music_kernels.triton.kernels import TritonKernels

    torch.manual_seed(tokens)
    r, k, v = (torch.randn(2, tokens, 3, 64, device="cuda", dtype=dtype) for _ in range(3))
    away = torch.nn.functional.normalize(torch.randn(2, tokens, 3, 64, device="cuda"), dim=-1)
    w = (LEAST_LOG_DECAY * torch.rand(2, tokens, 3, 64, device="cuda")).to(dtype)
    state = torch.randn(2, 3, 64, 64, device="cuda")
    inputs = [r, w, k, v, -away.to(dtype), (0.5 * away).to(dtype), state]
    truth = ReferenceKernels().wkv7(*(x.double() for x in inputs))
    for found, expected in zip(TritonKernels().wkv7(*inputs), truth, strict=True):
        assert (found.double() - expected).square().mean().sqrt() <= within * expected.square().mean().sqrt()
