"""What `generate` does with its options: takes are made, written and told of, one after another."""

import argparse

import torch

from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.commands.outputs import Outputs
from rwkv_music.commands.progress import Interrupt, Progress
from rwkv_music.commands.request import Request, read_request
from rwkv_music.compose import Piece
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.made import Made, making_of, snapshot_of
from rwkv_music.session import Session, Take
from rwkv_music.session_file import load_session, save_session
from rwkv_music.snapshots import load_snapshot, save_snapshot
from rwkv_music.terminal import counted, reason, tell
from rwkv_music.usual import usual_threads
from rwkv_music_kernels.contract import KernelError

USER_ERRORS = (CheckpointError, KernelError)
EXIT_INTERRUPTED = 130
# Takes that are made in one batch.
AT_ONCE = 16


def run(args: argparse.Namespace) -> int:
    """Make the takes that are asked for; return 0, 1 when an output could not be written, or 130 after Ctrl-C."""
    request = read_request(args)
    outputs = Outputs(args, request.stem, request.folder)
    progress = Progress(args.quiet)
    for remark in request.remarks:
        progress.say(remark)
    session = _session(request, args)
    begun, bar = session.current, _bar(session, args.from_bar)
    troubles: list[str] = []
    with Interrupt() as interrupt:
        for first in range(0, args.takes, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, args.takes))
            session.go_to(begun)
            progress.begin(session.piece.shown if bar is None else "", several=len(numbers))
            runs = [request.take(number) for number in numbers]
            new = len(session.takes)
            for take, shown in session.several(runs, bar=bar, stop=interrupt):
                progress.add(shown, first=take == new)
            for number, take in zip(numbers, session.takes[new:], strict=True):
                progress.end(_told(take, stopped=interrupt.asked), take.piece.length - take.after)
                troubles += _finish(take.piece, number, request.model, outputs, shown=progress.live)
            if interrupt.asked or outputs.useless:
                break
        troubles += _keep(session, request, outputs)
    return EXIT_INTERRUPTED if interrupt.asked else 1 if troubles else 0


def _session(request: Request, args: argparse.Namespace) -> Session:
    """The session that every take goes on from."""
    engine = Engine.open(request.model, device=request.device, dtype=request.dtype)
    torch.set_num_threads(args.threads or request.threads or usual_threads(engine.spec))
    if request.model_hash and request.model_hash != engine.hash:
        raise UserError(
            f"{args.like} was made by {request.model} with the weights {request.model_hash[:12]}, "
            f"these are {engine.hash[:12]}: give --model to use them all the same"
        )
    if request.manuscript is not None:
        return Session(engine, request.manuscript, request.runs[0].options)
    if args.session:
        session = load_session(args.session, engine)
        if args.take is not None:
            _go_to(session, args.take)
        return session
    snapshot = load_snapshot(args.state, spec=engine.spec, model_hash=engine.hash)
    return Session.of_takes([Take(0, None, 0, Piece.resume(engine, snapshot))], 0)


def _go_to(session: Session, take: int) -> None:
    try:
        session.go_to(take)
    except ValueError as error:
        raise UserError(f"--take: {error}") from None


def _bar(session: Session, asked: int | None) -> int | None:
    """The bar line to go on from, one there is. Raises UserError."""
    if asked is not None and asked >= (there := len(session.bars())):
        raise UserError(f"--from-bar: the take has bar lines 0 to {there - 1}, there is no number {asked}")
    return asked


def _told(take: Take, stopped: bool) -> str:
    """How much of the piece a take is, in bars where there are any, and why it is no more."""
    piece = take.piece
    bars = round(float(piece.bars_of_run), 2)
    amount = f"{bars:g} bar{'s' * (bars != 1)}" if bars else counted(piece.length - take.after, "token")
    return f"{amount}, {'stopped by you' if stopped else 'ended by the model' if piece.ended else 'stopped as asked'}"


def _finish(piece: Piece, take: int, model: str, outputs: Outputs, *, shown: bool) -> list[str]:
    """Write a take and tell of it; return what went wrong. `shown`: it was seen on the terminal already."""
    making = making_of(piece, model)
    written, troubles = outputs.write(Made(piece.work(), making.line()), take, shown=shown)
    if outputs.args.save_state:
        path = outputs.state_path(take)
        try:
            save_snapshot(snapshot_of(piece, model), path)
            written.append(path)
        except OSError as error:
            troubles.append(f"{path} could not be written: {reason(error)}")
    tell(f"seed {making.seed}" + (f": wrote {', '.join(map(str, written))}" if written else ""))
    for trouble in troubles:
        tell(f"rwkv-music: {trouble}")
    return troubles


def _keep(session: Session, request: Request, outputs: Outputs) -> list[str]:
    """Write the session, where that is asked for."""
    path = outputs.args.save_session
    if path is None:
        return []
    try:
        save_session(session, request.model, path)
    except OSError as error:
        trouble = f"{path} could not be written: {reason(error)}"
        tell(f"rwkv-music: {trouble}")
        return [trouble]
    tell(f"kept {counted(len(session.takes) - 1, 'take')} in {path}")
    return []
