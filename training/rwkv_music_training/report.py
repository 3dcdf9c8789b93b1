"""Measure a trained model, write its page, and install it: `python -m rwkv_music_training.report --model abc-folk`."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.engine import Engine
from rwkv_music.library import ModelNotFoundError, find_model
from rwkv_music.terminal import tell
from rwkv_music_training.corpus.tunes import CorpusError
from rwkv_music_training.judging.abc2midi import JudgeError
from rwkv_music_training.judging.measure import measure
from rwkv_music_training.judging.note_measure import measure_notes
from rwkv_music_training.judging.predictors import EnginePredictor, Predictor
from rwkv_music_training.judging.recipe import RecipeError, note_recipe
from rwkv_music_training.pages.install import install_model
from rwkv_music_training.pages.picture import draw_curve
from rwkv_music_training.pages.reports import AbcReport, NotesReport, Report
from rwkv_music_training.pages.tables import fill
from rwkv_music_training.telling.curve import CurveError, read_curve


class ReportError(ValueError):
    """A model that cannot be reported on; the message says what it lacks."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m rwkv_music_training.report", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of tunes; folder or .tar.zst of MIDI files")
    parser.add_argument("--model", required=True, help="name or folder of the model")
    parser.add_argument("--curve", type=Path, help="curve.csv of the run; by default the copy beside the page")
    parser.add_argument("--page", type=Path, help="page to write; by default docs/models/NAME.md")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for the ids of MIDI files")
    parser.add_argument("--install", type=Path, metavar="FOLDER", help="also make FOLDER this model, with a model card")
    parser.add_argument("--machine", help="what it was trained on, where its config.json does not say")
    parser.add_argument("--tunes", type=int, default=200, help="tunes or pieces to write and judge")
    parser.add_argument("--seed", type=int, default=1, help="seed of these")
    return parser.parse_args(arguments)


def report(options: argparse.Namespace) -> None:
    """Measure, write the page, its picture and its curve, and install the model if asked to."""
    files = find_model(options.model)
    if files.config is None:
        raise ReportError(f"{options.model}: a model without config.json cannot be reported on")
    config = told_config(dict(files.config.about), options.machine)
    page = options.page or Path("docs") / "models" / f"{config['name']}.md"
    curve = options.curve or page.with_name(f"{page.stem}-curve.csv")
    rows = read_curve(curve)
    torch.set_num_threads(1)
    found = measured(files.config.tokenizer, EnginePredictor(Engine.open(options.model)), config, options)

    page.parent.mkdir(parents=True, exist_ok=True)
    picture = page.with_name(f"{page.stem}-curve.svg")
    draw_curve(rows, picture, f"{config['name']}, {config['parameters'] / 1e6:.1f} M parameters", found.drawing)
    kept = picture.with_suffix(".csv")
    if curve.resolve() != kept.resolve():
        shutil.copyfile(curve, kept)
    values = found.values(config, rows, files.weights.stat().st_size, picture.name)
    page.write_text(fill(found.page, values), encoding="utf-8")
    if options.install:
        told = {**config, **found.measured(config)}
        install_model(files.weights.parent, options.install, told, fill(found.card, values), picture)
    tell(f"written: {page}{f', {options.install}' if options.install else ''}")


def measured(tokenizer: str, predictor: Predictor, config: dict[str, Any], options: argparse.Namespace) -> Report:
    """Measure a model as music of its tokenizer is measured. Raises ReportError for one that is not trained here."""
    if tokenizer == "abc":
        return AbcReport(measure(predictor, options.data, options.tunes, options.seed, tell))
    if tokenizer == "notes":
        recipe = note_recipe(config)
        return NotesReport(
            measure_notes(predictor, recipe, options.data, options.cache, options.tunes, options.seed, tell)
        )
    raise ReportError(f"no report on models of the tokenizer {tokenizer!r}: it must be abc or notes")


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
    except (
        CheckpointError,
        CorpusError,
        CurveError,
        JudgeError,
        ModelNotFoundError,
        OSError,
        RecipeError,
        ReportError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
