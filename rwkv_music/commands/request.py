"""What a command line of `generate` asks for, everything filled in: prompt, model, and the runs of each take."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from rwkv_music.commands.options import DTYPES
from rwkv_music.errors import UsageError, UserError
from rwkv_music.library import DEFAULT_MIDI_MODEL, DEFAULT_MODEL, Chosen, chosen, find_model, read_style_name
from rwkv_music.limiting import read_limits
from rwkv_music.making import Making, Run, read_making
from rwkv_music.manuscripts.manuscript import Manuscript
from rwkv_music.manuscripts.wishes import Wishes
from rwkv_music.opening import Header
from rwkv_music.prompts import NOTHING, language_of_model, open_again, open_source, read_source
from rwkv_music.sampling import MAX_SEED, SamplingOptions
from rwkv_music.session_file import read_model
from rwkv_music.snapshots import read_label
from rwkv_music.styles import read_style_label
from rwkv_music.usual import usual_options, usual_run, usual_sampling
from rwkv_music_tokenizers.grammar import Limits


@dataclass(frozen=True)
class Prompt:
    """Music to begin with: what outputs are called after it and where they lie, and something to tell about it."""

    manuscript: Manuscript
    stem: str = "tune"
    folder: Path = Path()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One call of `generate`."""

    # Name or path of the model, and the sha256 that its weights must have; "" for any.
    model: str
    model_hash: str
    # The runs of the first take.
    runs: tuple[Run, ...]
    # The piece to begin with; None when a snapshot goes on.
    manuscript: Manuscript | None
    stem: str
    folder: Path
    # What the person should know before.
    remarks: tuple[str, ...] = ()
    # Threads to compute with; 0 leaves the choice to the size of the model.
    threads: int = 0
    device: str = "cpu"
    dtype: str = DTYPES[0]

    def take(self, number: int) -> tuple[Run, ...]:
        """The runs of take `number`, counted from 0: each take has the next seed."""
        seeds = [(run.options.seed + number) % (MAX_SEED + 1) for run in self.runs]
        return tuple(
            replace(run, options=replace(run.options, seed=seed)) for run, seed in zip(self.runs, seeds, strict=True)
        )


def read_request(args: argparse.Namespace) -> Request:
    """What the arguments ask for. Raises UserError, UsageError for options that exclude each other, or OSError."""
    if args.model == "":
        raise UsageError("--model names nothing; leave it out to use the embedded model")
    if args.tune is not None and args.prompt is None:
        raise UsageError("--tune chooses from a --prompt, and there is none")
    if args.style and (args.state or args.session):
        raise UsageError("--state and --session go on in the style that they began with: leave --style out")
    if args.state:
        if args.like or args.prompt is not None or _wishes(args) != Wishes():
            raise UsageError("--state goes on with its own piece: leave --prompt, --like and what it begins with out")
        return _going_on(args)
    if args.session:
        if args.state or args.like or args.prompt is not None or _wishes(args) != Wishes():
            raise UsageError("--session goes on with its own piece: leave --prompt, --state and --like out")
        return _in_session(args)
    if args.take is not None or args.from_bar is not None:
        raise UsageError("--take and --from-bar choose from a --session, and there is none")
    if args.like:
        if args.prompt is None and _wishes(args) != Wishes():
            raise UsageError("--like has its own prompt: leave what it begins with out, or give a --prompt")
        return _repeating(args)
    model, prompt = _prompt(args, args.model or _owner(args))
    where = usable_device(args.device or "cpu")
    run = _run(args, _usual(model, prompt.manuscript.language))
    return Request(
        *(model, "", (run,), prompt.manuscript, prompt.stem, prompt.folder, prompt.remarks),
        device=where,
        dtype=args.dtype or DTYPES[0],
    )


def _going_on(args: argparse.Namespace) -> Request:
    label = read_label(args.state)
    run = _run(args, vars(label.options))
    before = label.story.get("dtype")
    dtype = args.dtype or (before if before in DTYPES else DTYPES[0])
    strange = before in DTYPES and before != dtype
    remarks = (f"{args.state} was made in {before}, and goes on in {dtype}",) if strange else ()
    where = usable_device(args.device or "cpu")
    # Whether the weights are the right ones is found out where the snapshot is read.
    return Request(
        args.model or label.model, "", (run,), None, args.state.stem, args.state.parent, remarks, 0, where, dtype
    )


def _in_session(args: argparse.Namespace) -> Request:
    model = args.model or read_model(args.session)
    run = _run(args, _usual(model, language_of_model(model)))
    where = usable_device(args.device or "cpu")
    return Request(
        *(model, "", (run,), None, args.session.stem, args.session.parent), device=where, dtype=args.dtype or DTYPES[0]
    )


def _repeating(args: argparse.Namespace) -> Request:
    making = read_making(args.like)
    pinned = "" if args.model or args.style else making.hash
    model = _styled(args, args.model or making.model)
    if args.prompt is not None:
        model, prompt = _prompt(args, chosen(model).model if args.style else model)
    else:
        manuscript = open_again(language_of_model(model), making.prompt)
        prompt = Prompt(manuscript, args.like.stem, args.like.parent)
    runs = tuple(replace(run, options=_options(args, vars(run.options))) for run in making.runs)
    if args.bars is not None or args.seconds is not None or args.max_tokens is not None:
        runs = (_run(args, vars(runs[-1].options)),)
    device, remarks = _device_like(args, making)
    dtype = args.dtype or (making.dtype if making.dtype in DTYPES else DTYPES[0])
    return Request(
        *(model, pinned, runs, prompt.manuscript, prompt.stem, prompt.folder, (*prompt.remarks, *remarks)),
        threads=making.threads,
        device=device,
        dtype=dtype,
    )


def _owner(args: argparse.Namespace) -> str | None:
    """The model that the first style was made for, where that is told; None leaves the choice to the prompt."""
    if not args.style:
        return None
    name, _ = read_style_name(args.style[0])
    if Path(name).is_file():
        return read_style_label(Path(name)).base
    known = chosen(name)
    return known.model if known.styles else None


def _styled(args: argparse.Namespace, model: str) -> str:
    """The name of a model in the styles that are asked for, instead of those that it says."""
    if not args.style:
        return model
    return str(Chosen(chosen(model).model, tuple(map(read_style_name, args.style))))


def _device_like(args: argparse.Namespace, making: Making) -> tuple[str, tuple[str, ...]]:
    """The device that made what --like names, where it is here and no other is asked for, and what to tell."""
    if args.device:
        return usable_device(args.device), ()
    try:
        return usable_device(making.device), ()
    except UserError:
        return "cpu", (f"{args.like} was made on {making.device}, which is not here: the processor may differ",)


def usable_device(name: str) -> str:
    """The device's name. Raises UserError when there is no such device here."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"--device must be cpu, cuda or cuda:N, not {name!r}")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there is no such CUDA device here; leave --device out to use the processor")
    return name


def _usual(model: str, language: str) -> Mapping[str, Any]:
    """How a model is drawn from, where nobody says otherwise."""
    return usual_sampling(find_model(model).config, language)


def _options(args: argparse.Namespace, defaults: Mapping[str, Any]) -> SamplingOptions:
    """The settings of the command line over the defaults; a seed is drawn when neither has one."""
    try:
        return usual_options(defaults, vars(args))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _run(args: argparse.Namespace, defaults: Mapping[str, Any]) -> Run:
    """How the piece goes on, and where it stops."""
    return usual_run(
        _options(args, defaults),
        bars=args.bars,
        seconds=args.seconds,
        max_tokens=args.max_tokens,
        end=args.end,
        free=args.free,
        limits=_limits(args),
    )


def _limits(args: argparse.Namespace) -> Limits:
    return read_limits(
        args.range or "", args.scale or "", args.only or "", drums=not args.no_drums, polyphony=args.polyphony
    )


def _wishes(args: argparse.Namespace) -> Wishes:
    header = Header(**{field.name: getattr(args, field.name) or "" for field in fields(Header)})
    return Wishes(header, args.instruments or "", args.prompt_bars)


def _prompt(args: argparse.Namespace, model: str | None) -> tuple[str, Prompt]:
    """The model, and what --prompt and the options of the beginning give. Raises UserError, or OSError."""
    if args.prompt is None and args.prompt_bars is not None:
        raise UsageError("--prompt-bars says how much of a --prompt is heard, and there is none")
    source = NOTHING if args.prompt is None else read_source(args.prompt, args.tune)
    of_midi = args.instruments or args.only or source.performance is not None
    name = _styled(args, model or (DEFAULT_MIDI_MODEL if of_midi else DEFAULT_MODEL))
    manuscript = open_source(source, language_of_model(name), replace(_wishes(args), only=args.only or ""))
    if source.path is not None:
        return name, Prompt(manuscript, source.path.stem, source.path.parent, source.remarks)
    stem = "tune" if args.prompt is not None else (args.rhythm or ("piece" if of_midi else "tune")).replace(" ", "-")
    return name, Prompt(manuscript, stem, remarks=source.remarks)
