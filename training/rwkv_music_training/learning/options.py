"""Train a model by a recipe: from scratch, all weights of one there is, LoRA, or a start state."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "recipe", metavar="CONFIG", help="a YAML file, the name of a recipe, or the folder of a run to go on with"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder of the run (default: runs/ and its name)"
    )
    parser.add_argument("--corpus", metavar="DIR", help="what to learn, instead of the recipe's data.corpus")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, as --set schedule.steps=100; may be given again",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest whole checkpoint of the run, if it has any"
    )
    parser.add_argument("--find-rate", action="store_true", help="only look for a learning rate; nothing is trained")
