"""Triton's kernels in its interpreter, on the CPU, against the reference in float64: run by test_triton_wkv.py."""

import os

import pytest
import torch
from torch import Tensor, float64

from rwkv_music_kernels.contract import LEAST_LOG_DECAY
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_kernels.triton import wkv6_chunk, wkv7_chunk
from rwkv_music_kernels.triton.chunks import CHUNKED_FROM, chunks
from rwkv_music_kernels.triton.kernels import TritonKernels

assert os.environ.get("TRITON_INTERPRET") == "1", "run by test_triton_wkv.py, which sets TRITON_INTERPRET"

N = 32


@pytest.fixture(autouse=True)
def nan_everywhere(monkeypatch: pytest.MonkeyPatch):
    """Whatever a kernel forgets to write is no number."""
    for name in ("empty", "empty_like"):
        made = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, made=made, **k: filled(made(*a, **k)))
    new_empty = Tensor.new_empty
    monkeypatch.setattr(Tensor, "new_empty", lambda self, *a, **k: filled(new_empty(self, *a, **k)))


def filled(x: Tensor) -> Tensor:
    return x.fill_(torch.nan) if x.is_floating_point() else x


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=float64)


def seven(pieces: int, tokens: int, heads: int, states: int) -> list[Tensor]:
    shape = (pieces, tokens, heads, N)
    r, k, v = noise(*shape), noise(*shape), noise(*shape)
    away = torch.nn.functional.normalize(noise(*shape), dim=-1)
    w = LEAST_LOG_DECAY * torch.sigmoid(4 * noise(*shape))
    return [r, w, k, v, -away, away * torch.sigmoid(noise(*shape)), noise(states, heads, N, N)]


def six(pieces: int, tokens: int, heads: int, states: int) -> list[Tensor]:
    shape = (pieces, tokens, heads, N)
    # From almost no decay to one that leaves nothing.
    w = -torch.exp(3 * noise(*shape))
    return [noise(*shape), noise(*shape), noise(*shape), w, noise(heads, N), noise(states, heads, N, N)]


def four(pieces: int, tokens: int, heads: int, states: int) -> list[Tensor]:
    width = 50 * heads
    state = torch.stack([noise(states, width), noise(states, width).exp(), noise(states, width)], dim=1)
    return [
        noise(pieces, tokens, width),
        noise(pieces, tokens, width),
        -torch.exp(noise(width)),
        noise(width),
        state,
    ]


MAKERS = {"wkv4": four, "wkv6": six, "wkv7": seven}
CHUNKED = ["wkv6", "wkv7"]


def everything(kernels, name: str, tensors: list[Tensor], cu_seqlens: Tensor | None) -> list[Tensor]:
    """y, the new state, and the gradients of a sum over both with fixed random weights."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    results = getattr(kernels, name)(*leaves, cu_seqlens)
    generator = torch.Generator().manual_seed(1)
    loss = torch.zeros((), dtype=float64)
    for result in results:
        loss = loss + (result.double() * torch.randn(result.shape, generator=generator, dtype=float64)).sum()
    return [x.detach() for x in results] + list(torch.autograd.grad(loss, leaves))


class Chunked:
    """The kernels that count in chunks, however few the tokens."""

    def wkv6(self, r, k, v, w, u, state, cu_seqlens=None):
        return wkv6_chunk.run([r, k, v, w, u], state, chunks(r.shape[0], r.shape[1], cu_seqlens, r.device))

    def wkv7(self, r, w, k, v, a, b, state, cu_seqlens=None):
        return wkv7_chunk.run([r, w, k, v, a, b], state, chunks(r.shape[0], r.shape[1], cu_seqlens, r.device))


def check(name: str, tensors: list[Tensor], cu_seqlens: Tensor | None = None, kernels=None) -> None:
    single = [x.float() for x in tensors]
    # Sums over tokens of numbers that grow and cancel; float32 rounds each to 6e-8.
    check_within(1e-5, kernels or TritonKernels(), name, single, cu_seqlens)


def check_within(most: float, kernels, name: str, tensors: list[Tensor], cu_seqlens: Tensor | None = None) -> None:
    expected = everything(ReferenceKernels(), name, [x.double() for x in tensors], cu_seqlens)
    for place, (found, truth) in enumerate(zip(everything(kernels, name, tensors, cu_seqlens), expected, strict=True)):
        error = (found.double() - truth).square().mean().sqrt()
        assert error <= most * truth.square().mean().sqrt() + 1e-12, (name, place, error)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("pieces, tokens, heads", [(1, 1, 1), (2, 15, 1), (1, 17, 2), (1, 33, 1)])
def test_the_kernels_are_the_reference_forward_and_backward(name, pieces, tokens, heads):
    torch.manual_seed(tokens)
    check(name, MAKERS[name](pieces, tokens, heads, pieces))


@pytest.mark.parametrize("name", MAKERS)
def test_packed_documents_know_nothing_of_each_other(name):
    torch.manual_seed(7)
    check(name, MAKERS[name](1, 21, 1, 4), torch.tensor([0, 1, 1, 18, 21]))


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_to_learn_keeps_nothing_and_finds_the_same(name):
    torch.manual_seed(3)
    tensors = [x.float() for x in MAKERS[name](1, 5, 1, 1)]
    learning = getattr(TritonKernels(), name)(*(x.clone().requires_grad_() for x in tensors))
    for found, truth in zip(getattr(TritonKernels(), name)(*tensors), learning, strict=True):
        assert torch.equal(found, truth.detach())


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("tokens", [1, 16, 17, 32, 33, 65])
def test_chunks_are_the_reference_forward_and_backward(name, tokens):
    torch.manual_seed(tokens)
    check(name, MAKERS[name](1, tokens, 1, 1), kernels=Chunked())


@pytest.mark.parametrize("name", CHUNKED)
def test_pieces_and_heads_in_chunks_do_not_touch(name):
    torch.manual_seed(2)
    check(name, MAKERS[name](2, 3, 2, 2), kernels=Chunked())


@pytest.mark.parametrize("name", CHUNKED)
def test_packed_documents_in_chunks_know_nothing_of_each_other(name):
    torch.manual_seed(7)
    check(name, MAKERS[name](1, 36, 1, 4), torch.tensor([0, 0, 1, 34, 36]), Chunked())


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("dtype, most", [(torch.bfloat16, 5e-3), (torch.float16, 1e-3)])
def test_half_types_in_chunks_cost_one_rounding(name, dtype, most):
    torch.manual_seed(4)
    *given, state = MAKERS[name](1, 33, 1, 1)
    check_within(most, Chunked(), name, [*(x.to(dtype) for x in given), state.float()])


@pytest.mark.parametrize("decay", [LEAST_LOG_DECAY, 0.0])
def test_decays_at_their_bounds_stay_exact_in_chunks(decay):
    torch.manual_seed(5)
    tensors = seven(1, 33, 1, 1)
    tensors[1] = torch.full_like(tensors[1], decay)
    check("wkv7", tensors, kernels=Chunked())


def test_decays_without_bound_stay_exact_in_chunks():
    torch.manual_seed(5)
    r, k, v, w, u, state = six(1, 33, 1, 1)
    # What one token forgets altogether, the next one keeps almost whole: exp(-exp(x)) for x from 4 to -6.
    w = -torch.exp(torch.where(noise(*w.shape) > 1, 4.0, -6.0).double())
    check("wkv6", [r, k, v, w, u, state], kernels=Chunked())


def test_a_key_that_comes_again_and_again_costs_no_digits():
    torch.manual_seed(6)
    r, w, k, v, a, b, state = seven(1, 33, 1, 1)
    same = a[:, :1].expand_as(a)
    check("wkv7", [r, 1e-3 * w, k, v, same, -0.99 * same, state], kernels=Chunked())


@pytest.mark.parametrize("name", CHUNKED)
def test_long_sequences_are_counted_in_chunks(name):
    torch.manual_seed(8)
    for tokens, chunked in ((CHUNKED_FROM, True), (CHUNKED_FROM - 1, False)):
        tensors = [x.float() for x in MAKERS[name](1, tokens, 1, 1)]
        y, _ = getattr(TritonKernels(), name)(*tensors)
        assert torch.equal(y, getattr(Chunked(), name)(*tensors)[0]) is chunked
