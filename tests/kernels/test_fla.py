"""Where `fla` and a GPU are there, its recurrences are ours."""

import pytest
import torch

from rwkv_music_kernels.contract import LEAST_LOG_DECAY
from rwkv_music_kernels.fla import FlaKernels
from rwkv_music_kernels.reference import ReferenceKernels

pytest.importorskip("fla", reason="fla-core is not installed; pip install fla-core")


@pytest.mark.cuda
@pytest.mark.parametrize("tokens", [1, 63, 130])
def test_both_recurrences_are_the_reference(tokens):
    torch.manual_seed(tokens)
    r, k, v, a, b = (0.3 * torch.randn(2, tokens, 2, 64, device="cuda") for _ in range(5))
    w = LEAST_LOG_DECAY * torch.rand(2, tokens, 2, 64, device="cuda")
    state, u = torch.randn(2, 2, 64, 64, device="cuda"), torch.randn(2, 64, device="cuda")
    for own, other in (
        (ReferenceKernels().wkv7(r, w, k, v, a, b, state), FlaKernels().wkv7(r, w, k, v, a, b, state)),
        (ReferenceKernels().wkv6(r, k, v, w, u, state), FlaKernels().wkv6(r, k, v, w, u, state)),
    ):
        for ours, theirs in zip(own, other, strict=True):
            assert (ours - theirs).square().mean() < 1e-4 * ours.square().mean()
