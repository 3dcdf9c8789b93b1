"""Train a model by a recipe: `python -m rwkv_music_training.train abc-folk --data ../shared/data/abc --out runs/abc-folk`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.checkpoints import ResumeError, list_checkpoints, load_checkpoint
from rwkv_music_training.config import ConfigError, TrainingConfig, config_from_json, read_config
from rwkv_music_training.corpus.tunes import CorpusError
from rwkv_music_training.curve import CurveError
from rwkv_music_training.lessons import open_lesson
from rwkv_music_training.trainer import Trainer, TrainingError, say


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m rwkv_music_training.train", description=__doc__)
    parser.add_argument("recipe", help=f"a JSON config, or one of {', '.join(recipes())}")
    parser.add_argument("--data", type=Path, required=True, help="folder of tunes; folder or .tar.zst of MIDI files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--cache", type=Path, help="folder for the ids of MIDI files; by default cache in --out")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument("--minutes", type=float, help="train for this long instead of the recipe's steps or minutes")
    parser.add_argument("--steps", type=int, help="train for so many steps instead of the recipe's steps or minutes")
    parser.add_argument("--threads", type=int, help="threads instead of the recipe's")
    return parser.parse_args(arguments)


def recipes() -> list[str]:
    """Names of the recipes of this package."""
    folder = resources.files("rwkv_music_training") / "recipes"
    return sorted(path.name.removesuffix(".json").replace("_", "-") for path in folder.iterdir())


def read_recipe(name: str) -> TrainingConfig:
    """A recipe of this package, or one in a file. Raises ConfigError."""
    if name not in recipes():
        return read_config(Path(name))
    file = f"{name.replace('-', '_')}.json"
    told = resources.files("rwkv_music_training") / "recipes" / file
    return config_from_json(told.read_text(encoding="utf-8"), file)


def chosen_config(options: argparse.Namespace) -> TrainingConfig:
    """The config of the run: the recipe (or, on resuming, the checkpoint's) with the changes asked for."""
    config = load_checkpoint(newest(options.out)).config if options.resume else read_recipe(options.recipe)
    changes: dict[str, object] = {}
    if options.steps is not None:
        changes |= {"steps": options.steps, "minutes": 0.0}
    if options.minutes is not None:
        changes["minutes"] = options.minutes
    if options.threads is not None:
        changes["threads"] = options.threads
    return config.but(**changes)


def newest(out: Path) -> Path:
    """The newest checkpoint of a run. Raises ResumeError when there is none."""
    found = list_checkpoints(out / "checkpoints")
    if not found:
        raise ResumeError(f"{out}: no checkpoint to resume from")
    return found[-1]


def train(options: argparse.Namespace) -> None:
    """Train, or go on training, until the end or a signal."""
    config = chosen_config(options)
    if not options.resume and list_checkpoints(options.out / "checkpoints"):
        raise ResumeError(f"{options.out} already holds a run: add --resume, or choose another --out")
    lesson = open_lesson(config, options.data, options.cache or options.out / "cache", say)
    trainer = Trainer(config, lesson, options.out, choose_kernels("cpu"))
    say(f"{trainer.learner.size:,} parameters, {lesson.batches.per_epoch:,} steps an epoch")
    if options.resume:
        trainer.resume(newest(options.out))
    progress = trainer.run()
    say(f"{'stopped' if trainer.stopping else 'done'} after {progress.step} steps, {progress.seconds / 60:.1f} minutes")
    say(f"best reading {progress.best:.4f} bits/{lesson.unit} at step {progress.best_step}: {options.out / 'best'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 at the end of the run, 1 when it cannot run or go on."""
    try:
        train(parse(arguments))
    except (ConfigError, CorpusError, CurveError, ResumeError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
