"""The official recipe: loss with L2Wrap, parameter groups, AdamW, and the cosine of the learning rate."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from rwkv_music_training.config import TrainingConfig


class _L2Wrap(torch.autograd.Function):
    """Leaves the loss as it is; adds factor / positions * max(logits) to the gradient of each position's largest logit."""

    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor, logits: torch.Tensor, factor: float) -> torch.Tensor:
        largest, place = logits.max(dim=-1, keepdim=True)
        ctx.save_for_backward(largest, place)
        ctx.scale = factor / largest.numel()
        ctx.shape = logits.shape
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        largest, place = ctx.saved_tensors
        wrap = torch.zeros(ctx.shape, dtype=largest.dtype, device=largest.device)
        return grads[0], wrap.scatter_(-1, place, largest * ctx.scale * grads[0]), None


def language_loss(
    logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor, l2wrap: float = 1e-4
) -> torch.Tensor:
    """Mean cross entropy in nats over the counted positions, with the L2Wrap gradient when `l2wrap` > 0.

    logits: (B, T, V); targets: (B, T) int64; counted: (B, T) bool. Source of L2Wrap: the RWKV-LM trainer.
    """
    chosen = logits[counted].float()
    loss = functional.cross_entropy(chosen, targets[counted])
    return _L2Wrap.apply(loss, chosen, l2wrap) if l2wrap > 0 else loss  # pyright: ignore[reportReturnType]


# How much faster than the rest the decays learn, and RWKV-4's bonus.
RATE_FACTORS = {"att.w0": 2.0, "att.time_decay": 2.0, "att.time_first": 3.0}


def parameter_groups(parameters: Mapping[str, torch.nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """AdamW groups of the official trainers: RATE_FACTORS; only matrices (".weight", two squeezed dims) decay."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in parameters.items():
        decays = parameter.squeeze().dim() >= 2 and ".weight" in name
        factor = next((factor for end, factor in RATE_FACTORS.items() if name.endswith(end)), 1.0)
        groups.setdefault((weight_decay if decays else 0.0, factor), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "rate_factor": factor} for (decay, factor), members in groups.items()
    ]


def make_optimizer(parameters: Mapping[str, torch.nn.Parameter], config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW with the official betas and epsilon over the official groups."""
    groups = parameter_groups(parameters, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), eps=1e-18, fused=True)


def learning_rate(step: int, progress: float, config: TrainingConfig) -> float:
    """The rate of a step: a cosine over progress (0..1 of the run), times a linear warm-up from 1 %."""
    turn = (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2
    rate = config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * turn
    if step < config.warmup_steps:
        rate *= 0.01 + 0.99 * step / config.warmup_steps
    return rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]
