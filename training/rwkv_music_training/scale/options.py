"""List the checkpoints of a training run, or take a model out of one."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run, or one of its checkpoints")
    parser.add_argument("--check", action="store_true", help="read every file and tell which checkpoints are damaged")
    parser.add_argument(
        "--take", metavar="WHICH", help="newest, best or a step: write its model to -o (default: newest)"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="MODEL",
        type=Path,
        help="a folder that generate -m opens, or a .pth or .safetensors with official names in float32",
    )
    parser.add_argument("--raw", action="store_true", help="the weights themselves, not their moving average")
    parser.add_argument("--force", action="store_true", help="overwrite")
