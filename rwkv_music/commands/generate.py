"""Continue a tune, or compose one from a header. The tune goes to standard output, or to the files named by -o."""

import argparse
from pathlib import Path

import torch

from rwkv_music import __version__
from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.commands.arguments import number
from rwkv_music.commands.outputs import Outputs, Take
from rwkv_music.commands.progress import Interrupt, Progress, tell
from rwkv_music.commands.request import Request, read_request
from rwkv_music.compose import Piece
from rwkv_music.engine import DTYPES, Engine
from rwkv_music.errors import UsageError, UserError
from rwkv_music.library import DEFAULT_MODEL
from rwkv_music.making import Making, Run
from rwkv_music.model.spec import Spec
from rwkv_music.snapshots import load_snapshot, save_snapshot
from rwkv_music_kernels.contract import KernelError

USER_ERRORS = (CheckpointError, KernelError)
EXIT_INTERRUPTED = 130
MOST_TAKES = 1000
MOST_THREADS = 1024
# Layers times the square of the width: about a twelfth of the parameters.
SMALL = 2_000_000
MOST_BARS = 10_000
MOST_TOKENS = 10_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    begin = parser.add_argument_group("what to begin with")
    begin.add_argument("-p", "--prompt", metavar="FILE|-|ABC", help="ABC file, standard input, or ABC itself")
    begin.add_argument(
        "--tune", type=number(1, 10**9), metavar="N", help="which tune of a tunebook (default: the first)"
    )
    begin.add_argument("--key", help="key of a tune without one: D, Am, Edor, ...")
    begin.add_argument("--meter", help="its meter: 4/4, 6/8, C|, ...")
    begin.add_argument("--rhythm", help="its rhythm: reel, jig, waltz, polka, ...")
    begin.add_argument("--unit", help="its unit note length: 1/8, 1/16")
    begin.add_argument("--title", help="its title")
    begin.add_argument("--state", type=Path, metavar="FILE", help="go on exactly where --save-state stopped")
    begin.add_argument("--like", type=Path, metavar="FILE", help="repeat what made FILE; other options change it")
    _add_drawing(parser.add_argument_group("how to go on"))
    out = parser.add_argument_group("where it goes")
    out.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help=".abc .mid .wav .svg .musicxml .json, - for standard output (default: ABC and MIDI by the prompt)",
    )
    out.add_argument(
        "-n",
        "--takes",
        type=number(1, MOST_TAKES),
        default=1,
        metavar="N",
        help="make N takes: t.abc becomes t-1.abc, t-2.abc, ...",
    )
    out.add_argument("--save-state", type=Path, metavar="FILE", help="keep the state to go on later (--state)")
    out.add_argument("--force", action="store_true", help="overwrite files that exist")
    out.add_argument("--no-chords", action="store_true", help="do not play chord symbols as an accompaniment")
    out.add_argument("--soundfont", type=Path, metavar="FILE", help="instruments for .wav, an .sf2 file")
    out.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def _add_drawing(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--bars", type=number(1, MOST_BARS), metavar="N", help="add N bars (default: the model ends the tune)"
    )
    how.add_argument(
        "--max-tokens", type=number(1, MOST_TOKENS), metavar="N", help="stop after N characters whatever happens"
    )
    how.add_argument(
        "--temperature", type=float, metavar="T", help="above 1 bolder, below 1 tamer, 0 the likeliest always"
    )
    how.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest that hold the share P; 1 is off")
    how.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest; 0 is off")
    how.add_argument(
        "--min-p", type=float, metavar="P", help="leave out what is less likely than P times the likeliest; 0 is off"
    )
    how.add_argument(
        "--seed", type=int, metavar="S", help="the same seed makes the same tune (default: drawn, and told)"
    )
    how.add_argument("-m", "--model", help=f"embedded model, model folder or weights file (default: {DEFAULT_MODEL})")
    how.add_argument("--threads", type=number(1, MOST_THREADS), metavar="N", help="threads to compute with")
    how.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    how.add_argument("--dtype", default="float32", choices=DTYPES, help="number type of the weights (default: float32)")


def run(args: argparse.Namespace) -> int:
    """Make the takes that are asked for; return 0, 1 when an output could not be written, or 130 after Ctrl-C."""
    request = read_request(args)
    outputs = Outputs(args, request.stem, request.folder)
    progress = Progress(args.quiet)
    if request.remark:
        progress.say(request.remark)
    start = _start(request, args)
    troubles: list[str] = []
    with Interrupt() as interrupt:
        for take in range(args.takes):
            piece = start.branch()
            _grow(piece, request.take(take), progress, interrupt)
            troubles += _finish(piece, take, request.model, outputs, progress)
            if interrupt.asked:
                return EXIT_INTERRUPTED
    return 1 if troubles else 0


def _start(request: Request, args: argparse.Namespace) -> Piece:
    """The piece that every take goes on from."""
    engine = Engine.open(request.model, device=usable_device(args.device), dtype=args.dtype)
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


def usable_device(name: str) -> str:
    """The device's name. Raises UserError when there is no such device here."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"--device must be cpu, cuda or cuda:N, not {name!r}")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there is no such CUDA device here; leave --device out to use the processor")
    return name


def _grow(piece: Piece, runs: tuple[Run, ...], progress: Progress, interrupt: Interrupt) -> None:
    progress.begin(piece.written)
    for run in runs:
        for character in piece.grow(run, stop=interrupt):
            progress.add(character)
    ending = "stopped by you" if interrupt.asked else "ended by the model" if piece.ended else "stopped as asked"
    progress.end(f"{float(piece.bars):.3g} bars, {ending}")


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
        save_snapshot(piece.snapshot(model), path)
        written.append(path)
    tell(f"seed {making.seed}" + (f": wrote {', '.join(map(str, written))}" if written else ""))
    for trouble in troubles:
        tell(f"rwkv-music: {trouble}")
    return troubles
