"""RWKV-5's and 6's recurrence in chunks of plain torch, held against the plain loop in float64."""

import pytest
import torch
from torch import Tensor, bfloat16, float16, float32, float64

from rwkv_music_kernels.chunked import ChunkedKernels
from rwkv_music_kernels.contract import KernelError, Kernels
from rwkv_music_kernels.reference import ReferenceKernels

# Root mean square errors: of float32 sums (up to 2e-7 as measured), or of rounding the results to their dtype.
RTOL = {float64: 1e-13, float32: 1e-6, bfloat16: 4e-3, float16: 5e-4}


@pytest.fixture(autouse=True)
def nan_filled():
    """Memory torch hands out holds NaN until it is written."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


def inputs(tokens: int, *, pieces: int = 2, states: int = 0, size: int = 32) -> list[Tensor]:
    """r, k, v, w, u, state as RWKV-6 makes them, float64; from almost no decay to one that leaves nothing."""
    generator = torch.Generator().manual_seed(tokens)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=float64)

    shape = (pieces, tokens, 2, size)
    w = -torch.exp(3 * noise(*shape))
    return [noise(*shape), noise(*shape), noise(*shape), w, noise(2, size), noise(states or pieces, 2, size, size)]


def everything(kernels: Kernels, tensors: list[Tensor], cu_seqlens: Tensor | None = None) -> list[Tensor]:
    """y, the new state, and the gradients of a sum over both with fixed random weights."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    results = kernels.wkv6(*leaves, cu_seqlens=cu_seqlens)
    generator = torch.Generator().manual_seed(1)
    loss = torch.zeros((), dtype=float64)
    for result in results:
        loss = loss + (result.double() * torch.randn(result.shape, generator=generator, dtype=float64)).sum()
    return [*(x.detach() for x in results), *torch.autograd.grad(loss, leaves)]


def check(tensors: list[Tensor], rtol: float, kernels: Kernels, cu_seqlens: Tensor | None = None) -> None:
    found = everything(kernels, tensors, cu_seqlens)
    expected = everything(ReferenceKernels(), [x.double() for x in tensors], cu_seqlens)
    for place, (x, right) in enumerate(zip(found, expected, strict=True)):
        error = float((x.double() - right).norm() / right.norm().clamp_min(1e-30))
        assert error <= rtol, f"result {place}: relative error {error:.1e}"


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("tokens", [1, 3, 4, 15, 16, 17, 31, 32, 33, 63, 64, 65])
def test_every_length_gives_the_truth_and_its_gradients(tokens, dtype):
    check([x.to(dtype) for x in inputs(tokens)], RTOL[dtype], ChunkedKernels())


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_chunks_of_any_power_of_two_are_the_recurrence(chunk):
    check(inputs(37), RTOL[float64], ChunkedKernels(chunk))


def test_a_chunk_that_cannot_be_halved_is_refused():
    with pytest.raises(KernelError, match="power of two of tokens, not 24"):
        ChunkedKernels(24)


@pytest.mark.parametrize("decay", [0.0, -1e-6, -54.6, -1e4])
def test_no_decay_is_too_strong_or_too_weak(decay):
    given = inputs(40)
    given[3] = torch.full_like(given[3], decay)
    check([x.float() for x in given], RTOL[float32], ChunkedKernels())


def test_what_fades_slowly_stays_exact_beside_what_is_forgotten_at_once():
    given = inputs(40)
    # exp(-exp(x)) for x of 4 at one token in four, else of -6.
    given[3] = -torch.exp(torch.where(torch.arange(40)[:, None, None] % 4 == 1, 4.0, -6.0).double()).expand_as(given[3])
    check([x.float() for x in given], RTOL[float32], ChunkedKernels())


@pytest.mark.parametrize("dtype", [bfloat16, float16])
def test_half_precision_costs_one_rounding_of_the_results(dtype):
    *given, state = inputs(40)
    check([*(x.to(dtype) for x in given), state.float()], RTOL[dtype], ChunkedKernels())


def test_packed_documents_are_documents_one_by_one():
    given = [x.float() for x in inputs(70, pieces=1, states=5)]
    check(given, RTOL[float32], ChunkedKernels(), torch.tensor([0, 0, 1, 34, 34, 70]))


def test_a_piece_in_parts_is_the_piece_in_one():
    r, k, v, w, u, state = inputs(100)
    whole, end = ChunkedKernels().wkv6(r, k, v, w, u, state)
    parts = []
    for start, stop in ((0, 1), (1, 17), (17, 81), (81, 100)):
        part = slice(start, stop)
        y, state = ChunkedKernels().wkv6(r[:, part], k[:, part], v[:, part], w[:, part], u, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    torch.testing.assert_close(state, end)


def test_no_tokens_change_nothing():
    given = inputs(0)
    y, new_state = ChunkedKernels().wkv6(*given)
    assert y.shape == (2, 0, 2, 32)
    assert torch.equal(new_state, given[-1]) and new_state is not given[-1]


def test_a_nan_is_not_hidden_and_does_not_reach_what_came_before():
    for place in range(4):
        given = inputs(40)
        given[place][0, 20, 0, 0] = float("nan")
        y, new_state = ChunkedKernels().wkv6(*given)
        assert y[0, 21:].isnan().any() or y[0, 20].isnan().any(), place
        assert y[0, :20].isfinite().all() and y[1].isfinite().all() and new_state[1].isfinite().all(), place
