"""What a command line of `generate` asks for, everything filled in: prompt, model, and the runs of each take."""

import argparse
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from rwkv_music.commands.options import DTYPES
from rwkv_music.errors import UsageError, UserError
from rwkv_music.files import FileError, read_text, refuse_foreign
from rwkv_music.library import DEFAULT_MODEL, find_model
from rwkv_music.making import Making, Run, read_making
from rwkv_music.opening import DEFAULT_KEY, Header, Opening, open_tune
from rwkv_music.sampling import MAX_SEED, SETTINGS, SamplingOptions
from rwkv_music.snapshots import read_label
from rwkv_music.terminal import without_controls
from rwkv_music.tunebook import pick_tune

DRAWN_SEEDS = 2**32
DEFAULT_TOKENS = 2048
TOKENS_A_BAR = 128
# A name that ends so is meant as a file, whether there is one or not.
FILE_NAME = re.compile(r"\.(abc|txt|xml|musicxml|mxl|json)$", re.IGNORECASE)
MIDI_NAME = re.compile(r"\.(mid|midi)$", re.IGNORECASE)
ABC_SIGN = re.compile(r"\||^[ \t]*[A-Za-z]:", re.MULTILINE)
LONGEST_NAME = 4096


@dataclass(frozen=True)
class Prompt:
    """ABC to begin with: what outputs are called after it and where they lie, and something to tell about it."""

    opening: Opening
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
    # The tune to begin with; None when a snapshot goes on.
    opening: Opening | None
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
    if args.state:
        if args.like or args.prompt is not None or _header(args) != Header():
            raise UsageError("--state goes on with its own tune: leave --prompt, --like and the header options out")
        return _going_on(args)
    if args.like:
        if args.prompt is None and _header(args) != Header():
            raise UsageError("--like has its own prompt: leave the header options out, or give a --prompt")
        return _repeating(args)
    prompt = read_prompt(args)
    model, where = args.model or DEFAULT_MODEL, usable_device(args.device or "cpu")
    config = find_model(model).config
    run = Run(_options(args, config.sampling if config else {}), *_limits(args))
    return Request(
        model, "", (run,), prompt.opening, prompt.stem, prompt.folder, prompt.remarks, 0, where, args.dtype or DTYPES[0]
    )


def _going_on(args: argparse.Namespace) -> Request:
    label = read_label(args.state)
    run = Run(_options(args, vars(label.options)), *_limits(args))
    before = label.story.get("dtype")
    dtype = args.dtype or (before if before in DTYPES else DTYPES[0])
    strange = before in DTYPES and before != dtype
    remarks = (f"{args.state} was made in {before}, and goes on in {dtype}",) if strange else ()
    where = usable_device(args.device or "cpu")
    # Whether the weights are the right ones is found out where the snapshot is read.
    return Request(
        args.model or label.model, "", (run,), None, args.state.stem, args.state.parent, remarks, 0, where, dtype
    )


def _repeating(args: argparse.Namespace) -> Request:
    making = read_making(args.like)
    if args.prompt is not None:
        prompt = read_prompt(args)
    else:
        prompt = Prompt(open_tune(without_controls(making.prompt), Header()), args.like.stem, args.like.parent)
    runs = tuple(replace(run, options=_options(args, vars(run.options))) for run in making.runs)
    if args.bars is not None or args.max_tokens is not None:
        runs = (Run(runs[-1].options, *_limits(args)),)
    pinned = "" if args.model else making.hash
    model = args.model or making.model
    device, remarks = _device_like(args, making)
    dtype = args.dtype or (making.dtype if making.dtype in DTYPES else DTYPES[0])
    remarks = (*prompt.remarks, *remarks)
    return Request(
        model, pinned, runs, prompt.opening, prompt.stem, prompt.folder, remarks, making.threads, device, dtype
    )


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


def _options(args: argparse.Namespace, defaults: Mapping[str, Any]) -> SamplingOptions:
    """The settings of the command line over the defaults; a seed is drawn when neither has one."""
    known = {name: value for name, value in defaults.items() if name in SETTINGS}
    said = {name: getattr(args, name) for name in SETTINGS if getattr(args, name, None) is not None}
    try:
        return SamplingOptions(**{"seed": secrets.randbelow(DRAWN_SEEDS), **known, **said})
    except ValueError as error:
        raise UsageError(str(error)) from None


def _limits(args: argparse.Namespace) -> tuple[int | None, int]:
    """Bars and tokens to stop after."""
    return args.bars, args.max_tokens or max(DEFAULT_TOKENS, TOKENS_A_BAR * (args.bars or 0))


def _header(args: argparse.Namespace) -> Header:
    return Header(**{field.name: getattr(args, field.name) or "" for field in fields(Header)})


def read_prompt(args: argparse.Namespace) -> Prompt:
    """The tune that --prompt, --tune and the header options give. Raises UserError, or OSError."""
    header = _header(args)
    if args.prompt is None:
        kind = header.rhythm or "tune"
        key = header.key or DEFAULT_KEY
        title = header.title or kind.capitalize() + (f" in {key}" if key.lower() != "none" else "")
        return Prompt(open_tune("", replace(header, title=title)), kind.replace(" ", "-"))
    text, path = _prompt_text(args.prompt)
    name = str(path or "the prompt")
    refuse_foreign(text, name)
    text = without_controls(text)
    tune, remark = pick_tune(text, args.tune, name)
    if not ABC_SIGN.search(tune):
        raise UserError(f"{name} holds no ABC: neither a field such as K:D nor a bar line")
    opening, remarks = open_tune(tune, header), (remark,) if remark else ()
    return Prompt(opening, path.stem, path.parent, remarks) if path else Prompt(opening, remarks=remarks)


def _prompt_text(prompt: str) -> tuple[str, Path | None]:
    """The text of --prompt, and the file that it comes from."""
    if prompt == "-":
        return read_text(None), None
    named = "\n" not in prompt and "\0" not in prompt and len(prompt) < LONGEST_NAME
    if named and MIDI_NAME.search(prompt):
        raise UserError(f"{prompt}: MIDI prompts need a MIDI model, and there is none yet; give ABC (.abc)")
    if named and Path(prompt).is_file():
        refuse_foreign("", prompt)
        return read_text(Path(prompt)), Path(prompt)
    if named and FILE_NAME.search(prompt):
        raise FileError(f"{prompt}: there is no such file")
    if not ABC_SIGN.search(prompt):
        raise UserError(f"--prompt {prompt[:60]!r} is neither a file nor ABC (a field such as K:D, or a bar line)")
    # A shell makes it hard to type the end of a line.
    return (prompt if "\n" in prompt else prompt.replace("\\n", "\n")), None
