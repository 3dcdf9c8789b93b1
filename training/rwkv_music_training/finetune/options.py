"""Teach a model your own music: a folder of MIDI, ABC or MusicXML in, a model or a style of your own out."""

import argparse
from pathlib import Path

from rwkv_music.commands.arguments import number

METHODS = ("state", "lora", "full")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("places", type=Path, nargs="+", metavar="DIR", help="folders, archives or files of music")
    parser.add_argument("-o", dest="out", metavar="NAME", help="what it is called, or a path (default: as the folder)")
    parser.add_argument("--base", metavar="NAME", help="the model that learns (default: the embedded one of the kind)")
    parser.add_argument("--method", choices=METHODS, help="what learns (default: as many pieces can teach)")
    parser.add_argument("--minutes", type=_amount, default=0.0, metavar="M", help="to be over after, at the latest")
    parser.add_argument("--look", action="store_true", help="only tell what would happen")
    parser.add_argument("--json", action="store_true", help="tell everything as JSON, an object a line")
    parser.add_argument("--force", action="store_true", help="replace what is there")
    finer = parser.add_argument_group("finer points (0: chosen)")
    finer.add_argument("--steps", type=number(0, 10**8), default=0, metavar="N", help="at the most")
    finer.add_argument("--rate", type=_amount, default=0.0, metavar="R", help="the highest learning rate")
    finer.add_argument("--rank", type=number(0, 4096), default=0, metavar="N", help="of lora")
    finer.add_argument("--held-out", type=number(0, 10**6), default=0, metavar="N", help="pieces that judge the others")
    finer.add_argument("--no-samples", action="store_true", help="write no pieces before and after")
    finer.add_argument("--seed", type=number(0, 2**32 - 1), default=1, metavar="N", help="(default: 1)")
    finer.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: a GPU if there is one)"
    )
    finer.add_argument("--threads", type=number(0, 1024), default=0, metavar="N", help="of the CPU (default: all)")
    finer.add_argument(
        "--track", action="append", choices=("tensorboard", "trackio", "wandb"), default=[], help="also log there"
    )


def _amount(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1e6:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number from 0 on")
    return found
