"""The recurrences of RWKV-4, and of RWKV-5 and 6, in Numba: held against the plain loop in float64."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from torch import Tensor, bfloat16, float16, float32, float64

from rwkv_music_kernels.contract import NO_LOGARITHM, KernelError, Kernels
from rwkv_music_kernels.cpu.kernels import CpuKernels
from rwkv_music_kernels.reference import ReferenceKernels

# Root mean square errors: of float32 sums (up to 6e-7 as measured), or of rounding the results to their dtype.
RTOL = {float32: 2e-6, bfloat16: 4e-3, float16: 5e-4}
LENGTHS = [1, 2, 15, 16, 17, 33, 257]


def four(tokens: int, *, pieces: int = 2, states: int = 0, size: int = 64) -> list[Tensor]:
    """k, v, w, u, state as RWKV-4 makes them, float64."""
    noise = noises(tokens)
    states = states or pieces
    state = torch.stack([noise(states, size), noise(states, size).exp(), noise(states, size)], dim=1)
    return [noise(pieces, tokens, size), noise(pieces, tokens, size), -noise(size).exp(), noise(size), state]


def six(tokens: int, *, pieces: int = 2, states: int = 0, size: int = 64) -> list[Tensor]:
    """r, k, v, w, u, state as RWKV-6 makes them, float64; from almost no decay to one that leaves nothing."""
    noise, heads = noises(tokens), 2
    shape = (pieces, tokens, heads, size)
    w = -torch.exp(3 * noise(*shape))
    return [*(noise(*shape) for _ in range(3)), w, noise(heads, size), noise(states or pieces, heads, size, size)]


def noises(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=float64)


MAKERS = {"wkv4": four, "wkv6": six}
# Inputs that have a row for each token; the others are w and u of RWKV-4, or u, and the state.
ROWS = {"wkv4": 2, "wkv6": 4}
each = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(autouse=True)
def nan_filled():
    """Memory torch hands out holds NaN until it is written."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


def everything(kernels: Kernels, name: str, tensors: list[Tensor], cu_seqlens: Tensor | None = None) -> list[Tensor]:
    """y, the new state, and the gradients of a sum over both with fixed random weights."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    results = getattr(kernels, name)(*leaves, cu_seqlens)
    noise = noises(1)
    loss = torch.stack([(result.double() * noise(*result.shape)).sum() for result in results]).sum()
    return [*(x.detach() for x in results), *torch.autograd.grad(loss, leaves)]


@cache
def truth(name: str, tokens: int) -> list[Tensor]:
    return everything(ReferenceKernels(), name, MAKERS[name](tokens))


def cast(name: str, tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The rows in `dtype`, the rest in float32."""
    return [x.to(dtype if place < ROWS[name] else float32) for place, x in enumerate(tensors)]


def assert_close(found: list[Tensor], expected: list[Tensor], rtol: float) -> None:
    for place, (x, right) in enumerate(zip(found, expected, strict=True)):
        error = float((x.double() - right.double()).norm() / right.double().norm().clamp_min(1e-30))
        assert error <= rtol, f"result {place}: relative error {error:.1e}"


@pytest.mark.parametrize("tokens", LENGTHS)
@each
def test_every_length_gives_the_truth_and_its_gradients(name, tokens):
    given = [x.float() for x in MAKERS[name](tokens)]
    assert_close(everything(CpuKernels(), name, given), truth(name, tokens), RTOL[float32])


@pytest.mark.parametrize("size", [32, 128])
@each
def test_other_widths_are_taken(name, size):
    given = MAKERS[name](20, size=size)
    found = everything(CpuKernels(), name, [x.float() for x in given])
    assert_close(found, everything(ReferenceKernels(), name, given), RTOL[float32])


@pytest.mark.parametrize("dtype", [bfloat16, float16])
@each
def test_half_precision_costs_one_rounding_of_the_results(name, dtype):
    given = cast(name, MAKERS[name](65), dtype)
    found = everything(CpuKernels(), name, given)
    expected = everything(ReferenceKernels(), name, [x.double() for x in given])
    assert [x.dtype for x in found[2:]] == [x.dtype for x in given] and found[0].dtype == dtype
    assert_close(found, expected, RTOL[dtype])
    assert_close(found[1:2], expected[1:2], RTOL[float32])


@each
def test_a_beginning_without_any_state_is_taken(name):
    *given, state = MAKERS[name](40)
    state = torch.zeros_like(state)
    if name == "wkv4":
        state[:, 2] = NO_LOGARITHM
    found = everything(CpuKernels(), name, [*(x.float() for x in given), state.float()])
    expected = everything(ReferenceKernels(), name, [*given, state])
    # What a state of no logarithm would change is nothing, but for what e^-87 leaves.
    assert_close(found[:-1], expected[:-1], RTOL[float32])
    torch.testing.assert_close(found[-1], expected[-1].float(), rtol=1e-4, atol=1e-4)


def test_keys_of_any_size_do_not_overflow():
    k, v, w, u, state = four(60)
    given = [60 * k, v, w, 30 * u, state]
    found = everything(CpuKernels(), "wkv4", [x.float() for x in given])
    # Keys are rounded to float32 first: e^k is as wrong as k times its last digit.
    expected = everything(ReferenceKernels(), "wkv4", [x.float().double() for x in given])
    assert_close(found, expected, 2e-5)


@each
def test_packed_documents_are_documents_one_by_one(name):
    ends = torch.tensor([0, 5, 5, 22, 40])
    given = MAKERS[name](40, pieces=1, states=4)
    found = everything(CpuKernels(), name, [x.float() for x in given], ends)
    assert_close(found, everything(ReferenceKernels(), name, given, ends), RTOL[float32])


@each
def test_a_piece_in_parts_is_the_piece_in_one(name):
    *given, state = [x.float() for x in MAKERS[name](100)]
    rows, rest = given[: ROWS[name]], given[ROWS[name] :]
    whole, end = getattr(CpuKernels(), name)(*given, state)
    parts = []
    for start, stop in ((0, 1), (1, 17), (17, 81), (81, 100)):
        y, state = getattr(CpuKernels(), name)(*(x[:, start:stop] for x in rows), *rest, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, end, rtol=1e-5, atol=1e-5)


@each
def test_no_tokens_change_nothing(name):
    given = [x.float().requires_grad_() for x in MAKERS[name](0)]
    y, new_state = getattr(CpuKernels(), name)(*given)
    assert y.shape[1] == 0
    assert torch.equal(new_state, given[-1]) and new_state is not given[-1]
    weights = torch.randn(new_state.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((weights * new_state).sum(), given)
    torch.testing.assert_close(gradients[-1], weights)
    assert all((x == 0).all() for x in gradients[:-1])


@each
def test_tensors_may_lie_anyhow_and_the_state_is_left_untouched(name):
    given = [x.float() for x in MAKERS[name](17)]
    scattered = [x.mT.contiguous().mT if x.dim() > 2 else x for x in given]
    before = scattered[-1].clone()
    assert not scattered[0].is_contiguous()
    assert_close(everything(CpuKernels(), name, scattered), everything(CpuKernels(), name, given), RTOL[float32])
    assert torch.equal(scattered[-1], before)


def test_a_decay_that_is_the_same_for_all_tokens_need_not_be_copied():
    r, k, v, w, u, state = [x.float() for x in six(33)]
    fixed = w[0, 0].clone().requires_grad_()
    y, _ = CpuKernels().wkv6(r, k, v, fixed.expand_as(r), u, state)
    (gradient,) = torch.autograd.grad(y.sum(), fixed)
    slow = fixed.detach().double().requires_grad_()
    r, k, v, u, state = (x.double() for x in (r, k, v, u, state))
    expected, _ = ReferenceKernels().wkv6(r, k, v, slow.expand_as(r), u, state)
    assert_close([y.detach(), gradient], [expected.detach(), *torch.autograd.grad(expected.sum(), slow)], RTOL[float32])


@each
def test_a_nan_is_not_hidden(name):
    given = [x.float() for x in MAKERS[name](20)]
    for place in (*range(ROWS[name]), -1):
        broken = [x.clone() for x in given]
        broken[place].view(-1)[0] = float("nan")
        y, _ = getattr(CpuKernels(), name)(*broken)
        assert y[0].isnan().any(), place
        assert y[1].isfinite().all(), place


@each
def test_without_gradients_the_results_are_the_same_and_no_graph_is_kept(name):
    given = [x.float().requires_grad_() for x in MAKERS[name](33)]
    y, new_state = getattr(CpuKernels(), name)(*given)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            quiet_y, quiet_state = getattr(CpuKernels(), name)(*given)
        assert not quiet_y.requires_grad and not quiet_state.requires_grad
        assert torch.equal(quiet_y, y) and torch.equal(quiet_state, new_state)


@each
def test_results_do_not_depend_on_threads_nor_on_who_else_computes(name):
    given = [x.float() for x in MAKERS[name](257, pieces=12)]
    kernels, threads = CpuKernels(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = everything(kernels, name, given)
        torch.set_num_threads(3)
        with ThreadPoolExecutor(3) as callers:
            crowd = list(callers.map(lambda _: everything(copy.deepcopy(kernels), name, given), range(2)))
            crowd += list(callers.map(lambda _: everything(kernels, name, given), range(2)))
    finally:
        torch.set_num_threads(threads)
    for results in crowd:
        assert all(torch.equal(x, y) for x, y in zip(results, alone, strict=True))


@each
def test_the_cpu_kernels_tell_what_they_do_not_take(name):
    with pytest.raises(KernelError, match="multiple of 32 channels, not 16"):
        getattr(CpuKernels(), name)(*(x.float() for x in MAKERS[name](4, size=16)))
    with pytest.raises(KernelError, match="choose 'reference' or 'torch' for float64"):
        getattr(CpuKernels(), name)(*MAKERS[name](4))
    with pytest.raises(KernelError, match="run on the CPU, not on meta"):
        getattr(CpuKernels(), name)(*(x.float().to("meta") for x in MAKERS[name](4)))
