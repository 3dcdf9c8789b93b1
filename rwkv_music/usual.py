"""What holds where nobody says otherwise: how a model is drawn from, how far a run goes, with how many threads."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from rwkv_music.catalogue import published_models
from rwkv_music.library import ModelConfig
from rwkv_music.making import Run
from rwkv_music.model.spec import Spec
from rwkv_music.sampling import SETTINGS, SamplingOptions
from rwkv_music_tokenizers.grammar import NO_LIMITS, Limits

DRAWN_SEEDS = 2**32
# The most tokens of a run: so many, or as many as may be needed for the length that was asked for.
TOKENS = 2048
TOKENS_A_BAR = 128
TOKENS_A_SECOND = 64
# Layers times the square of the width: about a twelfth of the parameters.
SMALL = 2_000_000


def usual_sampling(config: ModelConfig | None, language: str) -> Mapping[str, Any]:
    """How a model is drawn from: settings of `SamplingOptions`, of a published one its makers' recipe too."""
    if config is None:
        return {}
    if config.name not in published_models() or language not in ("midi", "midipiano"):
        return config.sampling
    from rwkv_music.manuscripts.words import published_recipe

    return {**config.sampling, "recipe": published_recipe(language)}


def usual_options(defaults: Mapping[str, Any], said: Mapping[str, Any]) -> SamplingOptions:
    """What is said (None: nothing) over the defaults; a seed is drawn when neither has one. Raises ValueError."""
    known = {name: value for name, value in defaults.items() if name in SETTINGS}
    given = {name: value for name, value in said.items() if name in SETTINGS and value is not None}
    drawn: dict[str, Any] = {"seed": secrets.randbelow(DRAWN_SEEDS)}
    return SamplingOptions(**{**drawn, **known, **given})


def usual_run(
    options: SamplingOptions,
    *,
    bars: int | None = None,
    seconds: float | None = None,
    max_tokens: int | None = None,
    end: bool | None = None,
    free: bool = False,
    limits: Limits = NO_LIMITS,
) -> Run:
    """How a piece goes on, and where it stops. Raises ValueError for what is no length.

    end: whether the piece is brought to its end there; None does so where nobody says how long it is to be.
    """
    close = end if end is not None else bars is None and seconds is None and max_tokens is None
    most = TOKENS if max_tokens is None else max_tokens
    run = Run(options, bars, most, seconds=seconds, close=close, free=free, limits=limits)
    if max_tokens is not None:
        return run
    return replace(run, max_tokens=max(TOKENS, TOKENS_A_BAR * (bars or 0) + int(TOKENS_A_SECOND * (seconds or 0))))


def usual_threads(spec: Spec) -> int:
    """Threads to compute with: a small model's tokens take less time than it takes to wake another one."""
    return 1 if spec.layers * spec.width**2 < SMALL else torch.get_num_threads()
