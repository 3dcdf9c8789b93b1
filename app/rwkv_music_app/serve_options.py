"""Serve the HTTP API without a page, until Ctrl-C: from this machine, or with --ray as replicas on a Ray cluster.

It answers on this machine only, unless --host says otherwise.
"""

import argparse
from pathlib import Path

from rwkv_music.commands.arguments import number
from rwkv_music_app.options import add_what, add_where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    where = parser.add_argument_group("where")
    add_where(where, 8000)
    where.add_argument(
        "--store",
        type=Path,
        metavar="FOLDER",
        help="where pieces are kept; with --ray, every machine has it under this name (default: the user's data folder)",
    )
    add_what(parser.add_argument_group("what"))
    ray = parser.add_argument_group("several at once")
    ray.add_argument(
        "--ray", action="store_true", help="as a Ray Serve application, with --rows and --threads for each replica"
    )
    ray.add_argument("--address", help="a cluster's address (default: a cluster of this machine's own)")
    ray.add_argument("--replicas", type=number(1, 10_000), help="so many replicas (default: 1)")
    ray.add_argument("--min-replicas", type=number(0, 10_000), help="at least so many, even if nobody composes")
    ray.add_argument("--max-replicas", type=number(1, 10_000), help="at most so many: more as more takes grow at once")
