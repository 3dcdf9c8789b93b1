"""Judge models on music that they have not learnt from: what it costs them, and what their own music is like."""

import argparse
from pathlib import Path

from rwkv_music.commands.arguments import number

MOST = 10**9
SUFFIXES = (".md", ".json", ".html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="name, folder or weights file of a model, ngram:N for n-grams of the train split, or all",
    )
    parser.add_argument(
        "corpus", type=Path, metavar="CORPUS", help="a corpus, or a folder, archive or .jsonl.zst of music"
    )
    music = parser.add_argument_group("what is read")
    music.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        metavar="CORPUS",
        help="judge on this corpus too; may be repeated",
    )
    music.add_argument(
        "--split", choices=("valid", "test", "train"), default="valid", help="which split (default: valid)"
    )
    music.add_argument("--tier", action="append", metavar="T", help="licence tier; may be repeated (default: A)")
    music.add_argument("--pieces", type=number(0, MOST), default=0, metavar="N", help="at most N pieces, evenly spread")
    music.add_argument(
        "--longest", type=number(0, MOST), default=0, metavar="N", help="only the first N tokens of each"
    )
    music.add_argument(
        "--known", type=number(0, MOST), default=0, metavar="N", help="only N training pieces for n-grams and copies"
    )
    music.add_argument("--no-copies", action="store_true", help="do not look for copies of training pieces")
    own = parser.add_argument_group("what is written")
    own.add_argument(
        "--write", type=number(0, 10**6), default=100, metavar="N", help="pieces with masks and without (default: 100)"
    )
    own.add_argument("--max-tokens", type=number(1, 10**6), default=2048, metavar="N", help="of each (default: 2048)")
    own.add_argument("--temp", type=float, metavar="T", help="temperature (default: the model's own)")
    own.add_argument("--top-p", type=float, metavar="P", help="nucleus (default: the model's own)")
    own.add_argument("-s", "--seed", type=number(0, 2**32 - 1), default=1, help="seed (default: 1)")
    own.add_argument(
        "--fmd", action="store_true", help="the Fréchet Music Distance too (frechet-music-distance, CLaMP 2)"
    )
    out = parser.add_argument_group("where it goes")
    out.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help=f"the table as {', '.join(SUFFIXES)}; may be repeated (default: Markdown on standard output)",
    )
    out.add_argument("--force", action="store_true", help="overwrite")
    out.add_argument("-q", "--quiet", action="store_true", help="no word while it goes on")
