"""Triton's kernels: in its interpreter in a process of its own, and on a GPU where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rwkv_music_kernels.contract import LEAST_LOG_DECAY, Kernels
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
@pytest.mark.parametrize("name", ["wkv6", "wkv7"])
def test_on_a_gpu(name, dtype, within, tokens):
    from rwkv_music_kernels.triton.kernels import TritonKernels

    torch.manual_seed(tokens)
    shape = (2, tokens, 3, 64)
    r, k, v = (torch.randn(shape, device="cuda", dtype=dtype) for _ in range(3))
    state = torch.randn(2, 3, 64, 64, device="cuda")
    if name == "wkv7":
        away = torch.nn.functional.normalize(torch.randn(shape, device="cuda"), dim=-1)
        w = (LEAST_LOG_DECAY * torch.rand(shape, device="cuda")).to(dtype)
        inputs = [r, w, k, v, -away.to(dtype), (0.5 * away).to(dtype), state]
    else:
        w = -torch.exp(2 * torch.randn(shape, device="cuda")).to(dtype)
        inputs = [r, k, v, w, torch.randn(3, 64, device="cuda", dtype=dtype), state]
    truth = _everything(ReferenceKernels(), name, [x.double() for x in inputs])
    for place, (found, expected) in enumerate(zip(_everything(TritonKernels(), name, inputs), truth, strict=True)):
        error = (found.double() - expected).square().mean().sqrt()
        # Gradients are sums over tokens of what was rounded before, and are rounded once more.
        assert error <= (within if place < 2 else 2 * within) * expected.square().mean().sqrt(), place


def _everything(kernels: Kernels, name: str, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """y, the new state, and the gradients of a sum over both with fixed random weights."""
    leaves = [x.detach().requires_grad_() for x in tensors]
    results = getattr(kernels, name)(*leaves)
    generator = torch.Generator("cuda").manual_seed(1)
    weights = [torch.randn(x.shape, generator=generator, device="cuda", dtype=torch.float64) for x in results]
    loss = torch.stack([(x.double() * weight).sum() for x, weight in zip(results, weights, strict=True)]).sum()
    return [*(x.detach() for x in results), *torch.autograd.grad(loss, leaves)]
