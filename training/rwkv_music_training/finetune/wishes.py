"""What a musician said of a fine-tuning; whatever was left unsaid is chosen from the music and the machine."""

from dataclasses import dataclass
from typing import Literal, get_args

from rwkv_music.errors import UserError

Name = Literal["state", "lora", "full"]
METHODS: tuple[Name, ...] = get_args(Name)


class FinetuneError(UserError):
    """A fine-tuning that cannot be; one line that says why, and what to do."""


@dataclass(frozen=True)
class Wishes:
    """None and 0 stand for what was not said."""

    base: str | None = None
    method: Name | None = None
    # Of LoRA.
    rank: int = 0
    # The highest learning rate.
    rate: float = 0.0
    steps: int = 0
    # Minutes after which it ends with the best so far, everything counted.
    minutes: float = 0.0
    # Pieces that are not learnt from and judge the others.
    held_out: int = 0
    # Pieces are written before and after.
    samples: bool = True
    seed: int = 1
    # "auto" takes a GPU where there is one.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # CPU threads; 0 takes all cores.
    threads: int = 0
    # Loggers besides the files.
    track: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()
