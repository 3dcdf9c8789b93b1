"""What `generate` does with its options: takes are made, written and told of, one after another."""

import argparse
from dataclasses import replace

import torch

from rwkv_music import __version__
from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.commands.outputs import Outputs, Take
from rwkv_music.commands.progress import Interrupt, Progress
from rwkv_music.commands.request import Request, read_request
from rwkv_music.compose import Piece
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.making import Making, Run
from rwkv_music.model.spec import Spec
from rwkv_music.snapshots import Snapshot, load_snapshot, save_snapshot
from rwkv_music.terminal import reason, tell
from rwkv_music_kernels.contract import KernelError

USER_ERRORS = (CheckpointError, KernelError)
EXIT_INTERRUPTED = 130
# Layers times the square of the width: about a twelfth of the parameters.
SMALL = 2_000_000


def run(args: argparse.Namespace) -> int:
    """Make the takes that are asked for; return 0, 1 when an output could not be written, or 130 after Ctrl-C."""
    request = read_request(args)
    outputs = Outputs(args, request.stem, request.folder)
    progress = Progress(args.quiet)
    for remark in request.remarks:
        progress.say(remark)
    start = _start(request, args)
    troubles: list[str] = []
    with Interrupt() as interrupt:
        for take in range(args.takes):
            piece = start.branch()
            _grow(piece, request.take(take), progress, interrupt)
            troubles += _finish(piece, take, request.model, outputs, progress)
            if interrupt.asked:
                return EXIT_INTERRUPTED
            if outputs.useless:
                break
    return 1 if troubles else 0


def _start(request: Request, args: argparse.Namespace) -> Piece:
    """The piece that every take goes on from."""
    engine = Engine.open(request.model, device=request.device, dtype=request.dtype)
    torch.set_num_threads(args.threads or request.threads or usual_threads(engine.spec))
    if request.model_hash and request.model_hash != engine.hash:
        raise UserError(
            f"{args.like} was made by {request.model} with the weights {request.model_hash[:12]}, "
            f"these are {engine.hash[:12]}: give --model to use them all the same"
        )
    if request.opening is not None:
        return Piece.begin(engine, request.opening, request.runs[0].options)
    snapshot = load_snapshot(args.state, spec=engine.spec, model_hash=engine.hash)
    return Piece.resume(engine, snapshot)


def usual_threads(spec: Spec) -> int:
    """Threads to compute with: a small model's tokens take less time than it takes to wake another one."""
    return 1 if spec.layers * spec.width**2 < SMALL else torch.get_num_threads()


def _grow(piece: Piece, runs: tuple[Run, ...], progress: Progress, interrupt: Interrupt) -> None:
    progress.begin(piece.written)
    for run in runs:
        for character in piece.grow(run, stop=interrupt):
            progress.add(character)
    ending = "stopped by you" if interrupt.asked else "ended by the model" if piece.ended else "stopped as asked"
    bars = "1 bar" if piece.bars_of_run == 1 else f"{round(float(piece.bars_of_run), 2):g} bars"
    progress.end(f"{bars}, {ending}")


def _finish(piece: Piece, take: int, model: str, outputs: Outputs, progress: Progress) -> list[str]:
    """Write a take and tell of it; return what went wrong."""
    engine = piece.engine
    dtype = str(engine.dtype).removeprefix("torch.")
    threads = torch.get_num_threads()
    making = Making(
        __version__, model, engine.hash, str(engine.device), dtype, threads, piece.runs, piece.opening.prompt
    )
    written, troubles = outputs.write(Take(piece.text(), making.line()), take, shown=progress.live)
    if outputs.args.save_state:
        path = outputs.state_path(take)
        try:
            save_snapshot(_remembering(piece.snapshot(model), dtype), path)
            written.append(path)
        except OSError as error:
            troubles.append(f"{path} could not be written: {reason(error)}")
    tell(f"seed {making.seed}" + (f": wrote {', '.join(map(str, written))}" if written else ""))
    for trouble in troubles:
        tell(f"rwkv-music: {trouble}")
    return troubles


def _remembering(snapshot: Snapshot, dtype: str) -> Snapshot:
    """The snapshot with the dtype that it was made in."""
    label = snapshot.label
    return replace(snapshot, label=replace(label, story={**label.story, "dtype": dtype}))
