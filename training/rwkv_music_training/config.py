"""What one training run is: its shape, its data, its schedule, its habits."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

# Ids of the vocabulary of each tokenizer.
VOCABULARIES = {"abc": 128, "notes": 896}


class ConfigError(ValueError):
    """A training configuration that cannot be run; the message says which field and what it must be."""


@dataclass(frozen=True)
class TrainingConfig:
    """Every choice of a run; the same config and seed give the same run (step-driven schedules exactly)."""

    # Name of the model; it becomes the name in the exported config.json.
    name: str = "abc-folk"

    # What a document is: "abc" (the characters of a tune) or "notes" (a MIDI file).
    tokenizer: str = "abc"

    # Blocks of the model.
    layers: int = 6
    # Channels of the residual stream; a multiple of head_size.
    width: int = 192
    # Channels of one head.
    head_size: int = 64
    # Channels inside the channel mixing; 0 means four times the width.
    ffn: int = 0

    # Where the pieces for training and validation stand: files of tunes in the data folder, or splits of its index.csv.
    train_file: str = "train.jsonl.zst"
    valid_file: str = "valid.jsonl.zst"
    # Licence tiers that are read (A: public domain, CC0, CC-BY, MIT).
    tiers: tuple[str, ...] = ("A",)
    # Tokens of one batch, on average; a batch is whole documents of like length.
    tokens_per_batch: int = 4096
    # Longer tunes are cut here (and then have no end token); of longer MIDI files several windows are read.
    max_length: int = 2048
    # How much is read of each source of MIDI files: its tokens to this power. 1 takes them as they come, 0 evenly.
    source_power: float = 1.0
    # The clock of MIDI files: "auto", "grid" (bars) or "perf" (hundredths of a second).
    clock: Literal["auto", "grid", "perf"] = "auto"
    # Tokens of validation windows at every reading; ABC tunes are all read.
    valid_tokens: int = 60_000
    # Share of the tunes of an epoch that keep their own key; the others are transposed.
    untransposed: float = 0.4
    # Spread of the random factor on lengths when tunes are sorted into batches: more mixes more and pads more.
    length_jitter: float = 0.05

    # Optimiser steps of the whole run; the learning rate is a function of step / steps. Ignored when minutes > 0.
    steps: int = 10_000
    # Minutes of training, counted over all resumes; the learning rate is then a function of the time trained.
    minutes: float = 0.0
    # Learning rate after warm-up and at the end of the cosine.
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    # Steps over which the rate rises from 1 % to its full value.
    warmup_steps: int = 20
    # Decoupled weight decay, on matrices only.
    weight_decay: float = 0.1
    # Dropout on each residual branch.
    dropout: float = 0.0
    # Gradients are scaled down to this global norm.
    clip: float = 1.0
    # Factor of the L2Wrap gradient that keeps the largest logits near zero.
    l2wrap: float = 1e-4
    # Decay of the moving average of the weights a step; 0 keeps none.
    average: float = 0.0

    # Seed of the initial weights, the order of the tunes, the transpositions and the dropout.
    seed: int = 1
    # Pieces of a batch; their gradients are added in order, so the threads do not change the result.
    pieces: int = 4
    # Threads, each working on one piece at a time.
    threads: int = 2
    # Dtype of the matrix products: "bfloat16" (autocast) or "float32".
    precision: str = "bfloat16"

    # Steps between two readings of the validation tunes.
    evaluate_every: int = 300
    # Seconds between two checkpoints.
    checkpoint_seconds: float = 300.0
    # Readings without a better one after which the run ends; 0 never ends it early.
    patience: int = 0
    # What the model is sampled with, here and by those who do not say otherwise.
    temperature: float = 0.9
    top_p: float = 0.95
    # Openings that are continued at every reading, to be looked at.
    sample_prompts: tuple[str, ...] = ("", "R:jig\nM:6/8\nL:1/8\nK:D\n")

    def __post_init__(self) -> None:
        for name in (
            "layers",
            "width",
            "head_size",
            "pieces",
            "threads",
            "evaluate_every",
            "max_length",
            "valid_tokens",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.head_size:
            raise ConfigError(f"width must be a multiple of head_size ({self.head_size}), not {self.width}")
        if self.tokens_per_batch < self.max_length:
            raise ConfigError(f"tokens_per_batch must be at least max_length ({self.max_length})")
        if self.tokenizer not in VOCABULARIES:
            raise ConfigError(f"tokenizer must be one of {', '.join(VOCABULARIES)}, not {self.tokenizer!r}")
        if self.clock not in ("auto", "grid", "perf"):
            raise ConfigError(f"clock must be auto, grid or perf, not {self.clock!r}")
        if not 0 <= self.source_power <= 1:
            raise ConfigError(f"source_power must lie in 0..1, not {self.source_power}")
        if self.precision not in ("bfloat16", "float32"):
            raise ConfigError(f"precision must be bfloat16 or float32, not {self.precision!r}")
        if not 0 <= self.untransposed <= 1 or not 0 <= self.dropout < 1 or not 0 <= self.average < 1:
            raise ConfigError("untransposed must lie in 0..1, dropout and average in 0..1 below 1")
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ConfigError("temperature must be above 0, top_p in 0..1 above 0")
        if self.minutes <= 0 and self.steps < 1:
            raise ConfigError("steps must be at least 1 when minutes is 0")

    @property
    def vocabulary(self) -> int:
        """Ids that the model knows."""
        return VOCABULARIES[self.tokenizer]

    @property
    def ffn_width(self) -> int:
        """Channels inside the channel mixing."""
        return self.ffn or 4 * self.width

    def but(self, **changes: object) -> "TrainingConfig":
        """The same config with some fields changed."""
        return replace(self, **changes)  # pyright: ignore[reportArgumentType]

    def to_json(self) -> str:
        """The config as indented JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"


def config_from_json(text: str, place: str = "config") -> TrainingConfig:
    """Read a config; missing fields keep their defaults. Raises ConfigError on unknown fields and bad values."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{place}: not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: must hold one JSON object")
    known = {field.name: field.default for field in fields(TrainingConfig)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{place}: unknown field {unknown[0]!r} (known: {', '.join(sorted(known))})")
    for name, value in values.items():
        if not _is_like(value, known[name]):
            raise ConfigError(f"{place}: {name} must be like {json.dumps(known[name])}, not {json.dumps(value)}")
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return TrainingConfig().but(**listed)


def _is_like(value: object, default: object) -> bool:
    """Whether a JSON value is of the kind of a field's default."""
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def read_config(path: Path) -> TrainingConfig:
    """Read a config from a JSON file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    return config_from_json(text, str(path))
