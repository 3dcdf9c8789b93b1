"""One token a row over a pool of states: plain torch against the recurrences, Triton against plain torch.

`TRITON_INTERPRET=1 pytest tests/kernels/test_triton_decode.py` runs the facts of the Triton kernels one by one.
"""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from rwkv_music_kernels.contract import LEAST_LOG_DECAY, KernelError
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_kernels.slots import PlainSlots

pytest.importorskip("triton", reason="the extra `gpu` is not installed", exc_type=ImportError)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
ATOL = 2e-5

device_only = pytest.mark.filterwarnings("default") if INTERPRETED else pytest.mark.cuda
on_device = pytest.param("triton", marks=device_only)
every_backend = pytest.mark.parametrize("backend", ["plain", on_device])
every_version = pytest.mark.parametrize(("version", "size"), [("wkv7", 32), ("wkv7", 64), ("wkv6", 64), ("wkv4", 300)])
SLOTS, HEADS = 5, 2


@pytest.fixture(autouse=True)
def nan_filled():
    """Memory torch hands out holds NaN until it is written."""
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before, warn_only=warn)


def pooled(backend: str, slots: list[int]) -> Any:
    if backend == "plain":
        return PlainSlots(torch.tensor(slots))
    from rwkv_music_kernels.triton.decode import TritonSlots

    return TritonSlots(torch.tensor(slots, device=DEVICE))


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rows_of(version: str, size: int, count: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """What differs from row to row, (R, 1, ...), what does not, and a pool."""
    if version == "wkv4":
        pool = noise(SLOTS, 3, size, seed=9)
        pool[:, 1] = pool[:, 1].abs() + 1
        return (
            [noise(count, 1, size, seed=i) for i in range(2)],
            [-noise(size, seed=2).exp(), noise(size, seed=3)],
            pool,
        )
    pool, shape = noise(SLOTS, HEADS, size, size, seed=9), (count, 1, HEADS, size)
    r, k, v, x = (noise(*shape, seed=i) for i in range(4))
    if version == "wkv6":
        return [r, k, v, -x.exp()], [noise(HEADS, size, seed=4)], pool
    away = torch.nn.functional.normalize(noise(*shape, seed=4), dim=-1)
    return [r, LEAST_LOG_DECAY * x.sigmoid(), k, v, -away, away * noise(*shape, seed=5).sigmoid()], [], pool


def step(backend: str, version: str, rows: list[Tensor], same: list[Tensor], pool: Tensor, slots: list[int]) -> Tensor:
    """y of one step; the pool is changed where it lies."""
    device = "cpu" if backend == "plain" else DEVICE
    given = pool.to(device, copy=True)
    y, empty = getattr(pooled(backend, slots), version)(*(x.to(device) for x in (*rows, *same)), given)
    assert empty.numel() == 0
    pool.copy_(given)
    return y.cpu()


@every_backend
@every_version
def test_a_step_in_the_pool_is_a_step_of_the_recurrence(backend, version, size):
    slots = [3, -1, 0, 4]
    rows, same, pool = rows_of(version, size, len(slots))
    before = pool.clone()
    y = step(backend, version, rows, same, pool, slots)
    for row, slot in enumerate(slots):
        if slot < 0:
            assert y[row].eq(0).all()
            continue
        right, state = getattr(ReferenceKernels(), version)(
            *(x[row : row + 1] for x in rows), *same, before[slot][None]
        )
        torch.testing.assert_close(y[row], right[0], rtol=0, atol=ATOL)
        torch.testing.assert_close(pool[slot], state[0], rtol=0, atol=ATOL)
    for slot in set(range(SLOTS)) - set(slots):
        assert torch.equal(pool[slot], before[slot])


@device_only
@every_version
def test_a_row_is_the_same_bits_alone_and_among_others(version, size):
    slots = [2, 4, 1]
    rows, same, pool = rows_of(version, size, len(slots))
    alone, together = pool.clone(), pool.clone()
    y = step("triton", version, rows, same, together, slots)
    only = step("triton", version, [x[1:2] for x in rows], same, alone, slots[1:2])
    assert torch.equal(y[1:2], only) and torch.equal(together[4], alone[4])


@device_only
def test_half_precision_goes_in_and_comes_out():
    rows, same, pool = rows_of("wkv7", 64, 1)
    halves = [x.half() for x in rows]
    y = step("triton", "wkv7", halves, same, pool.clone(), [1])
    assert y.dtype == torch.float16
    right = step("plain", "wkv7", [x.float() for x in halves], same, pool.clone(), [1])
    torch.testing.assert_close(y.float(), right, rtol=2e-3, atol=2e-3)


@device_only
@pytest.mark.parametrize(("rows", "depth", "width"), [(1, 64, 16), (3, 70, 33), (17, 130, 65)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_linear_map_is_the_product(rows, depth, width, turned):
    x = noise(rows, 1, depth, seed=1)
    weight = noise(depth, width, seed=2).T if turned else noise(width, depth, seed=2)
    found = pooled("triton", [0] * rows).linear(x.to(DEVICE), weight.to(DEVICE)).cpu()
    torch.testing.assert_close(found, x @ weight.T, rtol=1e-5, atol=1e-4)


@pytest.mark.cuda
@pytest.mark.skipif(INTERPRETED, reason="the interpreter's products are those of the CPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("depth", "width"), [(768, 768), (768, 96), (3072, 768), (768, 20096)])
def test_a_token_is_mapped_to_the_same_bits_alone_and_among_others(dtype, depth, width):
    kernels, weight = pooled("triton", [0]), (noise(width, depth, seed=2) / depth**0.5).to(DEVICE, dtype)
    x = noise(200, 1, depth, seed=1).to(DEVICE)
    alone = [kernels.linear(x[row : row + 1], weight) for row in (0, 15, 31, 199)]
    for count in (2, 16, 17, 64, 200):
        together = kernels.linear(x[-count:], weight)
        assert torch.equal(together[-1:], alone[3])
    assert torch.equal(kernels.linear(x, weight)[[0, 15, 31, 199]], torch.cat(alone))
    right = x.to(dtype).double() @ weight.double().T
    error = (torch.cat(alone).double() - right[[0, 15, 31, 199]]).square().mean().sqrt()
    assert error <= (3e-3 if dtype == torch.bfloat16 else 1e-6) * right.square().mean().sqrt()


@device_only
@pytest.mark.parametrize("size", [24, 64])
def test_a_bonus_is_that_of_plain_torch(size):
    r, k, v = (noise(3, 1, HEADS, size, seed=i).to(DEVICE) for i in range(3))
    weight = noise(HEADS, size, seed=3).to(DEVICE)
    found = pooled("triton", [0, 1, 2]).bonus(r, k, v, weight)
    torch.testing.assert_close(found, PlainSlots(torch.zeros(0)).bonus(r, k, v, weight), rtol=1e-5, atol=1e-5)


@every_backend
def test_rows_come_out_of_the_pool_and_go_back(backend):
    device = "cpu" if backend == "plain" else DEVICE
    kernels, pool = pooled(backend, [3, -1, 1]), noise(2, SLOTS, 300, seed=1).to(device)
    before = pool.clone()
    taken = kernels.take(pool)
    assert torch.equal(taken[:, 0], pool[:, 3]) and torch.equal(taken[:, 2], pool[:, 1]) and taken[:, 1].eq(0).all()
    kernels.put(pool, taken + 1)
    assert torch.equal(pool[:, 3], before[:, 3] + 1) and torch.equal(pool[:, 1], before[:, 1] + 1)
    assert torch.equal(pool[:, [0, 2, 4]], before[:, [0, 2, 4]])


@every_backend
def test_a_broken_contract_is_told(backend):
    rows, same, pool = rows_of("wkv7", 32, 2)
    with pytest.raises(KernelError, match="one token for each of 1 rows"):
        step(backend, "wkv7", rows, same, pool, [0])
    with pytest.raises(KernelError, match="float32 and contiguous"):
        step(backend, "wkv7", rows, same, pool.double(), [0, 1])


@pytest.mark.skipif(INTERPRETED, reason="this starts the interpreter")
def test_the_interpreter_finds_all_of_this_true():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-k",
        "not plain",
        __file__,
    ]
    quick = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env={**os.environ, **quick}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
