"""Tell how surprising a piece is to a model: bits per note and per bar, as JSON or as a picture."""

import argparse
import json
from pathlib import Path

from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.commands.arguments import number
from rwkv_music.errors import UsageError
from rwkv_music.files import refuse_overwriting, write_whole
from rwkv_music.library import DEFAULT_MIDI_MODEL, DEFAULT_MODEL
from rwkv_music.terminal import show, tell
from rwkv_music_kernels.contract import KernelError

USER_ERRORS = (CheckpointError, KernelError)
PICTURES = (".svg", ".png", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("piece", metavar="FILE", help="ABC, MIDI or MusicXML; - reads ABC from standard input")
    parser.add_argument(
        "-m", "--model", help=f"model (default: {DEFAULT_MODEL} for ABC, {DEFAULT_MIDI_MODEL} for MIDI)"
    )
    parser.add_argument("--tune", type=number(1, 10**9), metavar="N", help="which tune of a tunebook")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=f"a picture, {', '.join(PICTURES)}, or .json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")


def run(args: argparse.Namespace) -> int:
    """Judge one piece. Raises UserError, NotationError or OSError."""
    if args.output is not None:
        if args.output.suffix.lower() not in (*PICTURES, ".json"):
            raise UsageError(f"-o {args.output}: the suffix chooses the format: {', '.join(PICTURES)}, .json")
        refuse_overwriting([args.output], force=args.force)
    from rwkv_music.engine import Engine
    from rwkv_music.judging import judge
    from rwkv_music.manuscripts.wishes import NO_WISHES
    from rwkv_music.prompts import language_of_model, open_source, read_source

    source = read_source(args.piece, args.tune)
    model = args.model or (DEFAULT_MIDI_MODEL if source.performance is not None else DEFAULT_MODEL)
    manuscript = open_source(source, language_of_model(model), NO_WISHES)
    for remark in source.remarks:
        tell(remark)
    plain = {"piece": args.piece, "model": model, **judge(Engine.open(model), manuscript).plain()}
    text = json.dumps(plain, indent=1) + "\n"
    if args.output is None:
        show(text)
    elif args.output.suffix.lower() == ".json":
        write_whole(args.output, text.encode())
    else:
        write_whole(args.output, picture(plain, args.output.suffix.lower()[1:]))
    return 0


def picture(plain: dict, form: str) -> bytes:
    """A bar of the diagram for every bar of the piece, as high as its notes are surprising."""
    import io

    from matplotlib.figure import Figure

    bars = [bar for bar in plain["bars"] if bar["bits_per_note"] is not None]
    figure = Figure(figsize=(max(6.0, min(24.0, 0.25 * len(bars))), 3), layout="constrained")
    axes = figure.subplots()
    axes.bar([bar["bar"] for bar in bars], [bar["bits_per_note"] for bar in bars], color="#4c6a92")
    if plain["bits_per_note"] is not None:
        axes.axhline(
            plain["bits_per_note"], color="#b0413e", linewidth=1, label=f"{plain['bits_per_note']:.2f} on average"
        )
        axes.legend(frameon=False)
    axes.set(xlabel="bar", ylabel="bits per note", title=f"What surprises {plain['model']}")
    axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format=form)
    return content.getvalue()
