"""The official parameter groups, and the optimisers over them: AdamW, or Muon for matrices and AdamW for the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import Parameter

from rwkv_music_training.learning.config import ConfigError, Optimiser

# How much faster than the rest the decays learn, and RWKV-4's bonus.
RATE_FACTORS = {"att.w0": 2.0, "att.time_decay": 2.0, "att.time_first": 3.0}
# Muon's steps have the length of AdamW's with this adjustment (Liu et al. 2025, arXiv 2502.16982): one rate for both.
MUON_ADJUSTMENT = "match_rms_adamw"


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay pulls at it: matrices only, "VERY IMPORTANT" (RWKV-LM)."""
    return ".weight" in name and parameter.squeeze().dim() >= 2


def is_for_muon(name: str, parameter: torch.Tensor) -> bool:
    """The matrices of the blocks; the embedding and the head are tables of tokens, where AdamW does better."""
    return name.startswith("blocks.") and decays(name, parameter)


def parameter_groups(parameters: Mapping[str, Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Groups of the official trainers: RATE_FACTORS, and weight decay where it `decays`."""
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for name, parameter in parameters.items():
        factor = next((factor for end, factor in RATE_FACTORS.items() if name.endswith(end)), 1.0)
        groups.setdefault((weight_decay if decays(name, parameter) else 0.0, factor), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "rate_factor": factor} for (decay, factor), members in groups.items()
    ]


def make_optimisers(parameters: Mapping[str, Parameter], options: Optimiser) -> list[torch.optim.Optimizer]:
    """The optimisers of what learns, by official names. Raises ConfigError where torch has no Muon."""
    muon = {name: each for name, each in parameters.items() if options.name == "muon" and is_for_muon(name, each)}
    rest = {name: each for name, each in parameters.items() if name not in muon}
    made: list[torch.optim.Optimizer] = []
    if muon:
        made.append(_muon(parameter_groups(muon, options.weight_decay), options))
    if rest:
        groups = parameter_groups(rest, options.weight_decay)
        made.append(
            torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, eps=options.epsilon, fused=True)
        )
    return made


def _muon(groups: list[dict[str, Any]], options: Optimiser) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"optimiser.name: muon needs torch 2.9 or newer, this is {torch.__version__}; choose adamw")
    return torch.optim.Muon(groups, lr=options.learning_rate, momentum=options.momentum, adjust_lr_fn=MUON_ADJUSTMENT)


def begin(optimisers: Sequence[torch.optim.Optimizer]) -> None:
    """Make what the optimisers remember before their first step, so that it has a place to be loaded into."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                if isinstance(optimiser, torch.optim.AdamW):
                    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                    moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                    optimiser.state[parameter] = {"step": step, **moments}
                else:
                    optimiser.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}


def remembered(
    optimisers: Sequence[torch.optim.Optimizer], learning: Mapping[str, Parameter]
) -> dict[str, dict[str, torch.Tensor]]:
    """What the optimisers remember of each parameter, by its name: the tensors themselves."""
    return {
        name: dict(optimiser.state[parameter])
        for name, parameter in learning.items()
        for optimiser in optimisers
        if parameter in optimiser.state
    }


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["rate_factor"]
