"""Measure the embedded model, write its page, and install it: `python -m rwkv_music_training.report_abc_folk`."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.engine import open_model
from rwkv_music.library import ModelNotFoundError, find_model
from rwkv_music_training.abc2midi import JudgeError
from rwkv_music_training.corpus import CorpusError
from rwkv_music_training.curve import CurveError, read_curve
from rwkv_music_training.install import install_model, measured_config
from rwkv_music_training.measure import measure
from rwkv_music_training.page import fill, page_values
from rwkv_music_training.picture import draw_curve
from rwkv_music_training.trainer import say


class ReportError(ValueError):
    """A model that cannot be reported on; the message says what it lacks."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m rwkv_music_training.report_abc_folk", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl.zst and valid.jsonl.zst")
    parser.add_argument("--model", default="abc-folk", help="name or folder of the model")
    parser.add_argument("--curve", type=Path, help="curve.csv of the run; by default the copy beside the page")
    parser.add_argument("--page", type=Path, default=Path("docs/models/abc-folk.md"), help="page to write")
    parser.add_argument("--install", type=Path, metavar="FOLDER", help="also make FOLDER this model, with a model card")
    parser.add_argument("--machine", help="what it was trained on, where its config.json does not say")
    parser.add_argument("--tunes", type=int, default=200, help="tunes to write and judge")
    parser.add_argument("--seed", type=int, default=1, help="seed of these tunes")
    return parser.parse_args(arguments)


def report(options: argparse.Namespace) -> None:
    """Measure, write the page, its picture and its curve, and install the model if asked to."""
    files = find_model(options.model)
    if files.config is None:
        raise ReportError(f"{options.model}: a model without config.json cannot be reported on")
    config = told_config(dict(files.config.about), options.machine)
    curve = options.curve or options.page.with_name(f"{options.page.stem}-curve.csv")
    rows = read_curve(curve)
    torch.set_num_threads(1)
    model = open_model(options.model)
    found = measure(model, options.data, options.tunes, options.seed, say)

    options.page.parent.mkdir(parents=True, exist_ok=True)
    picture = options.page.with_name(f"{options.page.stem}-curve.svg")
    draw_curve(rows, picture, f"{config['name']}, {config['parameters'] / 1e6:.1f} M parameters")
    kept = picture.with_suffix(".csv")
    if curve.resolve() != kept.resolve():
        shutil.copyfile(curve, kept)
    values = page_values(found, config, rows, files.weights.stat().st_size, picture.name)
    options.page.write_text(fill("abc_folk.md", values), encoding="utf-8")
    if options.install:
        card = fill("abc_folk_card.md", values)
        install_model(files.weights.parent, options.install, measured_config(config, found), card, picture)
    say(f"written: {options.page}{f', {options.install}' if options.install else ''}")


def told_config(config: dict[str, Any], machine: str | None) -> dict[str, Any]:
    """The config with the machine of the training filled in. Raises ReportError when it says too little."""
    missing = [name for name in ("parameters", "training", "trained") if name not in config]
    if missing:
        raise ReportError(f"config.json of the model lacks '{missing[0]}': it was not made by this trainer")
    machine = machine or config["trained"].get("machine")
    if not machine:
        raise ReportError("config.json does not say what the model was trained on: add --machine '2 cores of ...'")
    return {**config, "trained": {**config["trained"], "machine": machine}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when all is written, 1 when something needed is missing."""
    try:
        report(parse(arguments))
    except (CheckpointError, CorpusError, CurveError, JudgeError, ModelNotFoundError, OSError, ReportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
