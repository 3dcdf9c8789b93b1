"""`rwkv-music evaluate`: contenders and corpora in, one table out."""

import argparse
import json
from collections import Counter
from pathlib import Path

import torch

from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.errors import UsageError, UserError
from rwkv_music.files import refuse_overwriting, write_whole
from rwkv_music.terminal import show, tell
from rwkv_music_kernels.contract import KernelError
from rwkv_music_training.judging.contenders import names_of, open_contender
from rwkv_music_training.judging.judgement import Ground, Judgement, Say, Trial, judge
from rwkv_music_training.judging.options import SUFFIXES
from rwkv_music_training.judging.shelf import Shelf
from rwkv_music_training.judging.table import html, markdown, table_of

USER_ERRORS = (CheckpointError, KernelError)


def run(args: argparse.Namespace) -> int:
    """Judge every model on every corpus. Raises UserError, CheckpointError or OSError."""
    for path in args.output:
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"-o {path}: the suffix chooses the form: {', '.join(SUFFIXES)}")
    refuse_overwriting(args.output, force=args.force)
    trial = trial_of(args)
    say: Say = (lambda line: None) if args.quiet else tell
    found = [
        judgement for place in (args.corpus, *args.also) for judgement in judge_all(args.models, place, trial, say)
    ]
    if not found:
        raise UserError("none of these models can read any of these corpora")
    table = table_of(found)
    for path in args.output:
        form = path.suffix.lower()
        text = {".md": markdown, ".html": html}[form](table) if form != ".json" else json.dumps(table, indent=1) + "\n"
        write_whole(path, text.encode())
    if not args.output:
        show(markdown(table))
    return 0


def trial_of(args: argparse.Namespace) -> Trial:
    """How the options want it. Raises UsageError."""
    if args.temp is not None and not 0 < args.temp <= 100:
        raise UsageError(f"--temp {args.temp}: a temperature lies above 0 and up to 100")
    if args.top_p is not None and not 0 < args.top_p <= 1:
        raise UsageError(f"--top-p {args.top_p}: it lies above 0 and up to 1")
    return Trial(
        split=args.split,
        tiers=tuple(args.tier or ("A",)),
        pieces=args.pieces,
        longest_read=args.longest,
        written=args.write,
        longest_written=args.max_tokens,
        known=None if args.no_copies else args.known,
        seed=args.seed,
        temperature=args.temp,
        top_p=args.top_p,
        distance=args.fmd,
    )


def judge_all(models: list[str], place: Path, trial: Trial, say: Say) -> list[Judgement]:
    """Every contender on one corpus; those who cannot read it are named and left out."""
    if not place.exists():
        raise UserError(f"{place}: there is no such corpus, folder or file")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = []
    try:
        ground = Ground(place.name, Shelf(place, trial.tiers), trial)
        say(f"{place}: {len(ground.held):,} pieces of split {trial.split}{told_of(ground.shelf.left_out)}")
        for name in names_of(models):
            contender = open_contender(name, lambda: ground.train, ground.language)
            try:
                found.append(judge(contender, ground, trial, say))
            except UserError as error:
                if len(models) == 1 and models != ["all"]:
                    raise
                say(f"{name}: left out on {place.name}: {error}")
    finally:
        torch.set_num_threads(threads)
    return found


def told_of(left_out: Counter[str]) -> str:
    """What was left out of a place, in words; "" where that is nothing."""
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in left_out.most_common())
    return f"; left out: {reasons}" if reasons else ""
