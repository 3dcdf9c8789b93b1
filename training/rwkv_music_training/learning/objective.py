"""The loss: cross entropy, with the gradient that keeps the largest logits near zero (L2Wrap)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Targets that do not count: a number instead of a mask, whose size a GPU would have to wait for.
LEFT_OUT = -100


class _L2Wrap(torch.autograd.Function):
    """Leaves the loss as it is; adds factor * max(logits) to the gradient of each position's largest logit."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, logits: Tensor, targets: Tensor, factor: float) -> Tensor:
        largest, place = logits.max(dim=-1, keepdim=True)
        ctx.save_for_backward(largest * (factor * (targets != LEFT_OUT)[..., None]), place)
        ctx.shape = logits.shape
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        pull, place = ctx.saved_tensors
        wrap = torch.zeros(ctx.shape, dtype=pull.dtype, device=pull.device)
        # By the gradient that comes in: a mean, a share of a step or a scale hold for it as for the loss.
        return grads[0], wrap.scatter_(-1, place, pull * grads[0]), None, None


def position_nats(logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """The cross entropy in nats of every position, float32 (B, T); zero where it does not count. See `nats`."""
    chosen = torch.where(counted, targets, LEFT_OUT)
    each = functional.cross_entropy(
        logits.float().flatten(0, -2), chosen.flatten(), ignore_index=LEFT_OUT, reduction="none"
    )
    return each.view_as(targets)


def nats(logits: Tensor, targets: Tensor, counted: Tensor, l2wrap: float = 0.0) -> Tensor:
    """The sum of the cross entropies in nats over the counted positions, float32, with the L2Wrap gradient of each.

    logits: (B, T, V); targets: (B, T) int64; counted: (B, T) bool. Source of L2Wrap: the RWKV-LM trainer.
    """
    flat = logits.float().flatten(0, -2)
    chosen = torch.where(counted, targets, LEFT_OUT).flatten()
    loss = functional.cross_entropy(flat, chosen, ignore_index=LEFT_OUT, reduction="sum")
    return _L2Wrap.apply(loss, flat, chosen, l2wrap) if l2wrap > 0 else loss  # pyright: ignore[reportReturnType]


def nats_to(logits: Tensor, odds: Tensor, counted: Tensor) -> Tensor:
    """The sum over the counted positions of the cross entropy in nats to given odds (B, T, V), float32.

    logits: (B, T, V); counted: (B, T) bool.
    """
    each = -(odds * torch.log_softmax(logits.float(), dim=-1)).sum(dim=-1)
    return torch.where(counted, each, 0.0).sum()
