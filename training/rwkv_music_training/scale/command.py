"""The verb `checkpoints`: what a run has kept, whether it is whole, and a model out of it."""

import argparse
import time
from pathlib import Path

from rwkv_music.errors import UsageError
from rwkv_music.terminal import show, tell
from rwkv_music_training.scale.found import MANIFEST, CheckpointError, Found, best_in, name_of, read_manifest, steps_in
from rwkv_music_training.scale.taking import take_out

FOLDER = "checkpoints"


def run(args: argparse.Namespace) -> int:
    """Do what was asked for. Raises UserError or OSError."""
    if args.output is None and args.take is not None:
        raise UsageError("--take needs -o, a folder or file to write the model to")
    if args.output is None:
        return list_all(args.run, args.check)
    found = read_manifest(choose(args.run, args.take or "newest"))
    take_out(found, args.output, average=not args.raw, force=args.force)
    tell(f"wrote {args.output}, the model of step {found.step:,}")
    return 0


def list_all(run_folder: Path, check: bool) -> int:
    """Show each checkpoint in a line; 1 where one is damaged."""
    folder = folder_of(run_folder)
    found = [read_manifest(path) for path in steps_in(folder)]
    if not found:
        raise CheckpointError(f"{run_folder}: no checkpoints here")
    best, damaged = best_in(folder), 0
    for one in found:
        damage = next((told for name in sorted(one.files) if (told := one.damage(name))), None) if check else None
        damaged += damage is not None
        words = ["best"] * (one.path == best) + (["whole" if damage is None else damage] if check else [])
        show(f"{line(one)}  {', '.join(words)}".rstrip() + "\n")
    return 1 if damaged else 0


def line(found: Found) -> str:
    """Step, tokens, size, files and time of a checkpoint."""
    tokens = found.told.get("progress", {}).get("tokens", 0)
    size = sum(size for size, _ in found.files.values()) / 2**20
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime((found.path / MANIFEST).stat().st_mtime))
    return f"step {found.step:>9,}  {tokens:>15,} tokens  {size:>9.1f} MiB in {len(found.files)} files  {written}"


def folder_of(run_folder: Path) -> Path:
    """Where the checkpoints of a run lie, given the run, that folder or one of them."""
    if (run_folder / MANIFEST).is_file():
        return run_folder.parent
    return run_folder / FOLDER if (run_folder / FOLDER).is_dir() else run_folder


def choose(run_folder: Path, which: str) -> Path:
    """The checkpoint that is meant. Raises CheckpointError."""
    if (run_folder / MANIFEST).is_file() and which == "newest":
        return run_folder
    folder = folder_of(run_folder)
    all_steps = steps_in(folder)
    if not all_steps:
        raise CheckpointError(f"{run_folder}: no checkpoints here")
    if which == "newest":
        return all_steps[-1]
    path = best_in(folder) if which == "best" else folder / name_of(int(which)) if which.isdecimal() else None
    if path is None or path not in all_steps:
        steps = ", ".join(str(int(one.name.removeprefix("step-"))) for one in all_steps)
        raise CheckpointError(f"{folder}: no checkpoint '{which}'; choose newest, best or one of the steps {steps}")
    return path
