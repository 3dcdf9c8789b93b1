"""What one training run is: its model, its method, its data, its schedule, its habits."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rwkv_music.errors import UserError

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class ConfigError(UserError):
    """A training configuration that cannot be run; the message says which field and what it must be."""


class Frozen(BaseModel):
    """A part of a configuration: unchangeable, and refused where it has a field that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Shape(Frozen):
    """A model to begin from scratch."""

    version: Literal["4", "5.0", "5.1", "5.2", "6", "7"] = "7"
    # Blocks, channels of the residual stream, channels of a head (RWKV-4 has none), channels inside the channel mix.
    layers: int = Field(default=6, ge=1)
    width: int = Field(default=192, ge=1)
    head_size: int = Field(default=64, ge=1)
    # Left out: what the official trainer of that version takes.
    ffn: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _version_as_text(cls, values: Any) -> Any:
        """`version: 7` and `version: 5.2` are numbers in YAML."""
        if isinstance(values, dict) and isinstance(values.get("version"), (int, float)):
            return {**values, "version": str(values["version"])}
        return values

    @model_validator(mode="after")
    def _whole_heads(self) -> "Shape":
        if self.version != "4" and self.width % self.head_size:
            raise ValueError(f"width must be a multiple of head_size ({self.head_size}), not {self.width}")
        return self


class Method(Frozen):
    """What learns: all weights, low-rank additions to some, or the state before the first token."""

    name: Literal["full", "lora", "state"] = "full"
    # Of LoRA: the rank, the scale (alpha / rank) and the share of its inputs that is dropped.
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    # Of LoRA: the matrices that get an addition, as "att.key" or "ffn.value"; none are all of the blocks.
    matrices: tuple[str, ...] = ()
    # Of full: the tensors that learn, by parts of their names, as "att." or "blocks.3."; none are all.
    parts: tuple[str, ...] = ()


class Augment(Frozen):
    """How documents are read anew; see `rwkv_music_training.corpus.augment`."""

    # The shares of readings in another key, tempo and loudness. ABC has only keys.
    transposed: Share = 0.6
    retimed: Share = 0.0
    reloud: Share = 0.0
    # Of ABC: the share that is moved along its scale into another mode.
    tonal: Share = 0.0
    # Of ABC: the share of the rest whose notes change names among each other, so that only what repeats can be foretold.
    exchanged: Share = 0.0
    # Of ABC: the share of readings that are read twice in a row, so that it pays to remember what is far back.
    repeated: Share = 0.0
    # Of ABC: the share of readings in which lines of music come back further on.
    restated: Share = 0.0
    # At most so many steps of 5 % faster or slower, and of 8 of the 127 loudnesses up or down.
    tempo_steps: int = Field(default=3, ge=0)
    loudness_steps: int = Field(default=2, ge=0)


class Data(Frozen):
    """What is read in which order; see `order` and `packing`."""

    # Folder that `rwkv-music corpus build` made.
    corpus: str | None = None
    # Tokens of a step over all its micro-batches and processes, on average.
    tokens_per_step: int = Field(default=4096, ge=1)
    # Micro-batches of a step; their gradients are added, so that fewer need more memory and nothing else.
    pieces: int = Field(default=4, ge=1)
    # Tokens of a document that are read in one go; longer ones are cut.
    window: int = Field(default=2048, ge=2)
    # Long documents: false reads their windows as documents of their own; true reads them one after the other in
    # consecutive steps, with the state carried on and the gradient cut (truncated back-propagation through time).
    carry: bool = False
    # How much is read of each source: its tokens to this power. 1 takes them as they come, 0 evenly.
    source_power: Share = 1.0
    # How documents are changed as they are read; the same ones in another key, tempo and loudness in each epoch.
    augment: Augment = Augment()
    # Positions of validation documents that are read at every reading.
    valid_tokens: int = Field(default=200_000, ge=1)


class Optimiser(Frozen):
    """How gradients become steps."""

    # "muon" takes the matrices of the blocks with Muon, all else with AdamW.
    name: Literal["adamw", "muon"] = "adamw"
    # After warm-up, and at the end of the schedule.
    learning_rate: float = Field(default=2e-3, gt=0)
    final_learning_rate: float = Field(default=2e-5, ge=0)
    # Decoupled, on matrices only.
    weight_decay: float = Field(default=0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = Field(default=1e-18, gt=0)
    # Of Muon.
    momentum: float = Field(default=0.95, ge=0, lt=1)
    # Gradients are scaled down to this global norm.
    clip: float = Field(default=1.0, gt=0)
    # Factor of the L2Wrap gradient that keeps the largest logits near zero; 0 leaves it out.
    l2wrap: float = Field(default=1e-4, ge=0)
    # Dropout on each residual branch.
    dropout: float = Field(default=0.0, ge=0, lt=1)
    # Share of the ids that are blanked out as they are read (what is to be foretold stays), less in some documents and
    # more in others.
    blanked: float = Field(default=0.0, ge=0, le=0.5)
    # Decay of the moving average of the weights a step; 0 keeps none.
    average: float = Field(default=0.0, ge=0, lt=1)


class Schedule(Frozen):
    """How long the run is, and the learning rate on its way."""

    # The first that is given and not 0 counts: minutes (over all resumes), epochs, steps.
    minutes: float = Field(default=0.0, ge=0)
    epochs: float = Field(default=0.0, ge=0)
    steps: int = Field(default=10_000, ge=1)
    # "wsd": warm-up, a stable rate, and a linear decay over the last `decay` of the run.
    shape: Literal["cosine", "wsd", "constant"] = "cosine"
    # Steps over which the rate rises from 1 % to its full value.
    warmup: int = Field(default=20, ge=0)
    decay: float = Field(default=0.2, gt=0, le=1)


class Teaching(Frozen):
    """Finished models whose odds are learnt beside the music; see `rwkv_music_training.learning.teaching`."""

    # By name or place, of the same vocabulary; what counts is the mean of their odds.
    models: tuple[str, ...] = ()
    # The share of the loss that is the cross entropy to those odds; the rest is that to the music.
    share: Share = 0.5


class Machine(Frozen):
    """Where it runs, and how; processes are told of in `rwkv_music_training.scale.layout`."""

    # "auto" takes a GPU where there is one.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # How the model lies on several processes: whole on each, or in shares (of all; of those of a node).
    spread: Literal["auto", "ddp", "fsdp", "hsdp"] = "auto"
    # Processes of a node, and nodes: 0 is as many as were started, or as there are GPUs.
    devices: int = Field(default=0, ge=0)
    nodes: int = Field(default=0, ge=0)
    # Neighbouring processes that share every micro-batch, and copies of the model with "hsdp" (0: one a node).
    context: int = Field(default=1, ge=1)
    copies: int = Field(default=0, ge=0)
    # Gradients are added up in it: float64 gives the same bits on any number of processes that read whole rows ("auto":
    # on CPUs).
    sums: Literal["auto", "float32", "float64"] = "auto"
    # Minutes after which a process that does not answer counts as lost.
    patience: float = Field(default=10.0, gt=0)
    # "bfloat16": matrix products by autocast, all weights and states stay float32.
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    # Threads of a CPU process, each working on one micro-batch at a time.
    threads: int = Field(default=2, ge=1)
    # Keep only the input of each block and compute the rest again in the backward pass: less memory, a third more work.
    recompute: bool = False
    # Let torch.compile fuse the blocks (GPUs).
    compile: bool = False


class Habits(Frozen):
    """What a run does besides learning."""

    # Steps between two readings of the validation documents; 0 never reads.
    read_every: int = Field(default=300, ge=0)
    # Seconds between two checkpoints, and how many are kept.
    checkpoint_seconds: float = Field(default=300.0, gt=0)
    keep: int = Field(default=2, ge=1)
    # Readings without a better one after which the run ends; 0 never ends it early.
    patience: int = Field(default=0, ge=0)
    # Openings that are continued at every reading; none are without an opening.
    prompts: tuple[str, ...] = ("",)
    # What the model is sampled with, here and by those who do not say otherwise.
    temperature: float = Field(default=0.9, gt=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    # Loggers besides the CSV and JSONL files: "tensorboard", "trackio", "wandb".
    track: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()


class TrainingConfig(Frozen):
    """Every choice of a run; the same config and seed give the same run (step-driven schedules exactly)."""

    # Name of the model; it becomes the name in the exported config.json.
    name: str = Field(default="model", min_length=1, max_length=100)
    # Seed of the initial weights, the order of the documents, their changes and the dropout.
    seed: int = Field(default=1, ge=0)
    # Begin with the weights of a model, by its name or place, instead of a new one in `shape`.
    base: str | None = None
    shape: Shape = Shape()
    method: Method = Method()
    data: Data = Data()
    optimiser: Optimiser = Optimiser()
    teaching: Teaching = Teaching()
    schedule: Schedule = Schedule()
    machine: Machine = Machine()
    habits: Habits = Habits()

    @model_validator(mode="after")
    def _goes_together(self) -> "TrainingConfig":
        if self.method.name != "full" and self.base is None:
            raise ValueError(f"the method {self.method.name} needs a model to begin with: say its name as base")
        if self.method.parts and self.method.name != "full":
            raise ValueError(f"method.parts are for the method full, not {self.method.name}")
        if self.method.name == "state" and self.machine.spread in ("fsdp", "hsdp"):
            # Every block begins from the memory that learns, which is read before the blocks gather their shares.
            raise ValueError("the method state is small and whole on each process: machine.spread must be auto or ddp")
        if self.teaching.models and (self.data.carry or self.machine.context > 1):
            raise ValueError("teaching reads whole windows: data.carry must be false and machine.context 1")
        if self.data.carry and self.data.augment.repeated:
            raise ValueError("data.augment.repeated reads whole documents: data.carry must be false")
        if self.data.carry and self.data.tokens_per_step % self.data.window:
            raise ValueError(f"with carry, tokens_per_step must be a multiple of window ({self.data.window})")
        if self.data.carry and self.lanes % self.data.pieces:
            raise ValueError(
                f"with carry, tokens_per_step / window ({self.lanes}) must be a multiple of pieces ({self.data.pieces})"
            )
        return self

    @property
    def lanes(self) -> int:
        """With carry: how many documents are under way at once."""
        return self.data.tokens_per_step // self.data.window

    def but(self, **changes: Any) -> "TrainingConfig":
        """The same with some fields changed, each as a whole part or as a dict of some of its fields.

        Raises ConfigError.
        """
        values = self.model_dump()
        for name, change in changes.items():
            values[name] = {**values[name], **change} if isinstance(change, dict) else change
        return checked(values, "config")


def checked(values: Any, place: str) -> TrainingConfig:
    """The config that these values say; missing fields keep their defaults. Raises ConfigError, one line."""
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: must hold fields with values, as 'name: my model'")
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "is not a known field" if first["type"] == "extra_forbidden" else _spoken(first)
        raise ConfigError(f"{place}: {where + ': ' if where else ''}{what}") from error


def _spoken(problem: Any) -> str:
    """What pydantic has to say, without its own words for it."""
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
    shown = problem["input"]
    return message if isinstance(shown, (dict, BaseModel)) else f"{message}, not {shown!r}"
