"""The verb `train`: a recipe, a corpus and a folder become a run."""

import argparse
from pathlib import Path

import yaml

from rwkv_music.checkpoint.source import CheckpointError as WeightsError
from rwkv_music.errors import UserError
from rwkv_music.model.spec import ModelError
from rwkv_music.terminal import tell
from rwkv_music_kernels.contract import KernelError
from rwkv_music_training.learning.config import ConfigError, TrainingConfig, checked
from rwkv_music_training.learning.lesson import Lesson, open_lesson
from rwkv_music_training.learning.loop import Run, TrainingError
from rwkv_music_training.learning.rates import find_rate
from rwkv_music_training.learning.recipe import read_recipe
from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.found import steps_in
from rwkv_music_training.scale.keeping import Keeping
from rwkv_music_training.scale.layout import Layout, LayoutError
from rwkv_music_training.scale.parallel import Parallel, WorkerLost, setup
from rwkv_music_training.telling.watchers import watchers_of

USER_ERRORS = (TrainingError, WeightsError, ModelError, KernelError, LayoutError, WorkerLost)
CONFIG = "config.yaml"


def run(args: argparse.Namespace) -> int:
    """Train to the end, or until a signal. Raises UserError and what USER_ERRORS names."""
    config, folder = chosen(args)
    if config.data.corpus is None:
        raise ConfigError("data.corpus: say which corpus to learn, there or with --corpus DIR")
    checkpoints = folder / "checkpoints"
    if not args.find_rate and not args.resume and steps_in(checkpoints):
        raise UserError(f"{folder} already holds a run: add --resume to go on with it, or choose another -o DIR")
    lesson = open_lesson(config)
    parallel = setup(layout_of(config))
    try:
        if args.find_rate:
            look_for_rate(config, lesson, folder, parallel)
        else:
            train(config, lesson, folder, parallel, resume=args.resume)
    finally:
        parallel.close()
    return 0


def chosen(args: argparse.Namespace) -> tuple[TrainingConfig, Path]:
    """The configuration with the changes asked for, and the folder of the run. Raises ConfigError."""
    given = Path(args.recipe)
    config = read_recipe(str(given / CONFIG) if (given / CONFIG).is_file() else args.recipe)
    values = config.model_dump()
    for change in args.set:
        _change(values, change)
    if args.corpus is not None:
        values["data"]["corpus"] = args.corpus
    config = checked(values, "--set" if args.set else args.recipe)
    if args.output is not None:
        return config, args.output
    return config, given if (given / CONFIG).is_file() else Path("runs") / config.name


def _change(values: dict, change: str) -> None:
    """Put `a.b=value` (in YAML) into nested fields. Raises ConfigError."""
    name, equals, text = change.partition("=")
    *parts, last = name.split(".")
    for part in parts:
        values = values.get(part, {}) if isinstance(values, dict) else {}
    if not equals or not isinstance(values, dict) or last not in values:
        raise ConfigError(f"--set {change}: must be a field and its value, as schedule.steps=100")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: the value is not YAML") from error


def layout_of(config: TrainingConfig) -> Layout:
    """How the run is spread over processes."""
    machine = config.machine
    return Layout(
        spread=machine.spread,
        devices=machine.devices,
        nodes=machine.nodes,
        context=machine.context,
        copies=machine.copies,
        sums=machine.sums,
        accelerator=machine.device,
        patience=machine.patience,
    )


def train(config: TrainingConfig, lesson: Lesson, folder: Path, parallel: Parallel, *, resume: bool = False) -> Run:
    """A whole run with its checkpoints. Raises what `run` raises."""
    checkpoints = Checkpoints(folder / "checkpoints", parallel, config.habits.keep)
    keeping = Keeping(checkpoints, config, lesson)
    learning = Run(config, lesson, folder, parallel, keeper=keeping, watchers=watchers_of(config))
    if resume:
        progress = keeping.resume(learning.stepper.state())
        if progress is None and steps_in(checkpoints.folder):
            raise UserError(f"{folder}: no whole checkpoint to go on from")
        # A job that is started again by torchrun or SLURM says --resume at its first start, too.
        learning.progress = progress or learning.progress
    learning.run()
    return learning


def look_for_rate(config: TrainingConfig, lesson: Lesson, folder: Path, parallel: Parallel, steps: int = 200) -> None:
    """A range test: rates.csv in the folder, and the rates to try on the terminal."""
    learning = Run(config, lesson, folder, parallel)
    found = find_rate(learning.stepper, steps=steps)
    if not parallel.first:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["rate,loss", *(f"{rate:.4e},{loss:.5f}" for rate, loss in zip(found.rates, found.losses, strict=True))]
    (folder / "rates.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    if not found.rates:
        raise UserError("the loss was not finite at the smallest rate already: look at the data and at optimiser")
    tell(f"the loss is lowest at {found.lowest:.1e}, so try {found.suggested:.1e}: {folder / 'rates.csv'}")
