"""Triton's kernels in its interpreter, on the CPU, against the reference in float64: run by test_triton_wkv.py."""

import os

import pytest
import torch
from torch import Tensor, float64

from rwkv_music_kernels.contract import LEAST_LOG_DECAY
from rwkv_music_kernels.reference import ReferenceKernels
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


def everything(kernels, name: str, tensors: list[Tensor], cu_seqlens: Tensor | None) -> list[Tensor]:
    """y, the new state, and the gradients of a sum over both with fixed random weights."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    results = getattr(kernels, name)(*leaves, cu_seqlens)
    generator = torch.Generator().manual_seed(1)
    loss = torch.zeros((), dtype=float64)
    for result in results:
        loss = loss + (result.double() * torch.randn(result.shape, generator=generator, dtype=float64)).sum()
    return [x.detach() for x in results] + list(torch.autograd.grad(loss, leaves))


def check(name: str, tensors: list[Tensor], cu_seqlens: Tensor | None = None) -> None:
    single = [x.float() for x in tensors]
    expected = everything(ReferenceKernels(), name, [x.double() for x in single], cu_seqlens)
    for place, (found, truth) in enumerate(
        zip(everything(TritonKernels(), name, single, cu_seqlens), expected, strict=True)
    ):
        error = (found.double() - truth).square().mean().sqrt()
        # Sums over tokens of numbers that grow and cancel; float32 rounds each to 6e-8.
        assert error <= 1e-5 * truth.square().mean().sqrt() + 1e-12, (name, place, error)


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
