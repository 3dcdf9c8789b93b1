"""Sensible choices: what learns, how fast and how long, from how much music there is and what machine it is."""

import math
import os
from dataclasses import dataclass

import torch

from rwkv_music.model.spec import Spec
from rwkv_music.model.versions import tensor_shapes
from rwkv_music_training.finetune.base import Base
from rwkv_music_training.finetune.wishes import Name, Wishes
from rwkv_music_training.learning.config import Augment, TrainingConfig, checked

# Up to so many pieces a state is enough, and up to so many low-rank additions.
FEW_PIECES, SOME_PIECES = 50, 1000
# The usual learning rates, for models of up to 10 million numbers; larger ones learn at a half of them, those of 100
# million at a quarter, and so on.
RATES: dict[Name, float] = {"state": 3e-2, "lora": 2e-3, "full": 3e-4}
RATED_AT = 10_000_000
# Of weights, that of little music is lower, but not below this share.
LEAST_SHARE = 0.1
RANK = 16
# Tokens of a step: an eighth of the music within these bounds, a power of two.
LEAST_STEP, MOST_STEP = 1024, 16_384
# How often music is gone through: so many tokens altogether, but never fewer or more times than that.
TOKENS, FEWEST_TIMES, MOST_TIMES = 1_500_000, 3, 60
# Readings of the pieces held out over the whole run, and without a better one until it ends.
READINGS, PATIENCE = 20, 6
FEWEST_STEPS = 40
# Tokens that are read in one go; with a state, the longest documents only are cut.
WINDOW, LONG_WINDOW = 2048, 8192
VALID_TOKENS = 100_000


@dataclass(frozen=True)
class Music:
    """How much there is to learn from."""

    pieces: int
    tokens: int
    # Tokens of the longest piece.
    longest: int


def choose_method(wishes: Wishes, music: Music, numbers: int) -> Name:
    """What was said, or what as many pieces can teach; all weights only where memory has room for them."""
    if wishes.method is not None:
        return wishes.method
    if music.pieces <= FEW_PIECES:
        return "state"
    return "lora" if music.pieces <= SOME_PIECES or not has_room(16 * numbers) else "full"


def has_room(needed: int) -> bool:
    """Whether half of this machine's memory (of its GPU, where there is one) holds so many bytes."""
    if torch.cuda.is_available():
        return needed < torch.cuda.get_device_properties(0).total_memory / 2
    try:
        return needed < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):
        return True


def numbers_of(spec: Spec) -> int:
    """Numbers in all tensors of a model."""
    return sum(torch.Size(shape).numel() for shape in tensor_shapes(spec).values())


def step_tokens(music: Music) -> int:
    """Tokens of a step: small sets take small steps, so that there are some in an epoch."""
    size = LEAST_STEP
    while size * 2 <= min(MOST_STEP, music.tokens / 8):
        size *= 2
    return size


def usual_steps(music: Music) -> int:
    """Steps of a run: many times through little music, a few times through much."""
    times = min(MOST_TIMES, max(FEWEST_TIMES, TOKENS / music.tokens))
    return max(FEWEST_STEPS, round(times * music.tokens / step_tokens(music)))


def augment_of(code: str) -> Augment:
    """How pieces are read anew: in other keys, of MIDI a little faster or slower; loudness is part of a manner."""
    return Augment(transposed=0.6, retimed=0.0 if code == "abc" else 0.3, reloud=0.0)


def usual_rate(method: Name, music: Music, numbers: int) -> float:
    """The highest learning rate: lower for large models, and where there is little music to learn by heart."""
    rate = RATES[method] * min(1.0, (RATED_AT / numbers) ** 0.3)
    return rate if method == "state" else rate * min(1.0, max(LEAST_SHARE, math.sqrt(music.tokens / TOKENS)))


def choose_config(name: str, base: Base, music: Music, wishes: Wishes) -> TrainingConfig:
    """Every choice of the run. Raises ConfigError for wishes out of range."""
    spec = base.spec
    sampling = base.files.config.sampling if base.files.config else {}
    method = choose_method(wishes, music, numbers_of(spec))
    rate = wishes.rate or usual_rate(method, music, numbers_of(spec))
    steps = wishes.steps or usual_steps(music)
    threads = wishes.threads or os.cpu_count() or 1
    # A state is what a piece begins with: it is not to be learnt from what lies in the middle of one.
    window = min(music.longest, LONG_WINDOW if method == "state" else WINDOW)
    tokens = max(step_tokens(music), window if method == "state" else 0)
    return checked(
        {
            "name": name,
            "seed": wishes.seed,
            "base": base.name,
            "method": {"name": method, "rank": wishes.rank or RANK, "alpha": float(wishes.rank or RANK)},
            "data": {
                "tokens_per_step": tokens,
                "pieces": max(2, threads) if wishes.device != "cuda" else 1,
                "window": max(2, window),
                "valid_tokens": VALID_TOKENS,
                "augment": augment_of(base.code).model_dump(),
            },
            "optimiser": {
                "learning_rate": rate,
                "final_learning_rate": rate / 10,
                "weight_decay": 0.0,
                "betas": (0.9, 0.99),
                "l2wrap": 0.0,
            },
            "schedule": {"steps": steps, "shape": "cosine", "warmup": max(1, steps // 20)},
            "machine": {"device": wishes.device, "threads": threads, "precision": "float32"},
            "habits": {
                "read_every": max(1, steps // READINGS),
                "patience": PATIENCE,
                "prompts": (),
                **{option: sampling[option] for option in ("temperature", "top_p") if option in sampling},
                "track": wishes.track,
            },
        },
        "finetune",
    )
