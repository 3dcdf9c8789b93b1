"""The verb `finetune`: a folder of music becomes a model or a style."""

import argparse

from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.model.spec import ModelError
from rwkv_music.terminal import show, tell
from rwkv_music_kernels.contract import KernelError
from rwkv_music_training.finetune.lines import Lines
from rwkv_music_training.finetune.result import place_of
from rwkv_music_training.finetune.tuning import finetune
from rwkv_music_training.finetune.wishes import Wishes
from rwkv_music_training.learning.loop import TrainingError
from rwkv_music_training.scale.layout import LayoutError
from rwkv_music_training.scale.parallel import WorkerLost
from rwkv_music_training.telling.live import Live

USER_ERRORS = (TrainingError, CheckpointError, ModelError, KernelError, LayoutError, WorkerLost)


def run(args: argparse.Namespace) -> int:
    """Teach, and tell how to use what came of it. Raises UserError and what USER_ERRORS names."""
    wishes = Wishes(
        base=args.base,
        method=args.method,
        rank=args.rank,
        rate=args.rate,
        steps=args.steps,
        minutes=args.minutes,
        held_out=args.held_out,
        samples=not args.no_samples,
        seed=args.seed,
        device=args.device,
        threads=args.threads,
        track=tuple(args.track),
    )
    place = place_of(args.out, args.force, args.places[0])
    if not args.look:
        place.check(args.places)
    lines = Lines(show) if args.json else None
    result = finetune(
        args.places,
        place,
        wishes,
        look=args.look,
        say=tell,
        show=lines.preflight if lines else lambda preflight: show(preflight.text()),
        watchers=(Live(), lines) if lines else (Live(),),
    )
    if result is not None and lines:
        lines.result(result)
    elif result is not None:
        show(f"{result.place.folder}: {result.size / 1e6:.2f} MB, {result.comparison.words()}\n")
        show(f"try it: rwkv-music generate {result.option}\n")
    return 0
