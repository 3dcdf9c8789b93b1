"""Make a corpus of folders of music that models learn from, show one, or bring it into and out of RWKV's binidx form."""

import argparse
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from rwkv_music.commands.arguments import number, seconds
from rwkv_music.terminal import show, tell

CODES = ("abc", "notes", "midi", "midipiano")
# What a file may take, in seconds.
FILE_SECONDS = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verbs = parser.add_subparsers(dest="what", required=True, metavar="build|show|import|export")
    _add_build(verbs.add_parser("build", help="make a corpus of MIDI, ABC and MusicXML"))
    shown = verbs.add_parser("show", help="tell what a corpus holds, and what was left out of it")
    shown.add_argument("corpus", type=Path, metavar="CORPUS")
    shown.add_argument("--rejects", action="store_true", help="every file that was left out, one a line")
    shown.add_argument("--check", action="store_true", help="read all of it, and compare it with what was written")
    came = verbs.add_parser("import", help="make a corpus of a .bin and .idx of RWKV-LM")
    came.add_argument("binidx", type=Path, metavar="BINIDX", help="the .bin, the .idx, or both without a suffix")
    came.add_argument("-o", dest="out", type=Path, required=True, metavar="CORPUS", help="the folder to make")
    came.add_argument("-t", "--tokenizer", choices=CODES, required=True, help="the code of its ids")
    _add_sharing(came)
    goes = verbs.add_parser("export", help="write a split as a .bin and .idx of RWKV-LM")
    goes.add_argument("corpus", type=Path, metavar="CORPUS")
    goes.add_argument("-o", dest="out", type=Path, required=True, metavar="BINIDX", help="both files, without a suffix")
    goes.add_argument("--split", choices=("train", "valid", "test"), default="train", help="(default: train)")
    goes.add_argument("--force", action="store_true", help="overwrite")


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "places",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folder, or a file: .mid .abc .musicxml .mxl .zip .tar .tar.zst .tar.gz .jsonl .jsonl.zst",
    )
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="CORPUS", help="the folder to make")
    parser.add_argument("-t", "--tokenizer", choices=CODES, default="notes", help="the code (default: notes)")
    parser.add_argument("--clock", choices=("auto", "grid", "perf"), default="auto", help="of notes (default: auto)")
    parser.add_argument("--melody", action="store_true", help="in ABC: the melody of MIDI files in several parts")
    parser.add_argument(
        "--tiers", default="A", metavar="A,B", help="licences to take, where an index tells (default: A)"
    )
    parser.add_argument("--most-bytes", type=number(1, 1 << 30), default=4 << 20, metavar="N", help="of a file (4 MiB)")
    parser.add_argument("--seconds", type=seconds, default=FILE_SECONDS, metavar="S", help="a file may take (20)")
    parser.add_argument(
        "--processes", type=number(1, 1024), default=os.cpu_count() or 1, metavar="N", help="(all cores)"
    )
    filters = parser.add_argument_group("what music must be like (0: whatever it is)")
    filters.add_argument("--fewest-notes", type=number(1, 10**6), default=16, metavar="N", help="(16)")
    filters.add_argument("--longest", type=_amount, default=7200.0, metavar="S", help="seconds of a piece (7200)")
    filters.add_argument("--most-ids", type=number(0, 1 << 30), default=0, metavar="N", help="of a document (0)")
    filters.add_argument("--densest", type=_amount, default=60.0, metavar="N", help="notes a second (60)")
    filters.add_argument("--thinnest", type=_amount, default=0.1, metavar="N", help="notes a second (0.1)")
    filters.add_argument("--silence", type=_amount, default=30.0, metavar="S", help="the longest, in seconds (30)")
    filters.add_argument(
        "--wrong-bars", type=_amount, default=0.1, metavar="P", help="the share of bars not full (0.1)"
    )
    _add_sharing(parser)
    parser.add_argument(
        "--split",
        choices=("near", "groups", "given"),
        default="near",
        help="by near-duplicates; by an index's groups as well; or as an index says, without what is near to held out music",
    )
    parser.add_argument(
        "--near", type=_amount, default=0.7, metavar="J", help="near-duplicates: Jaccard index from (0.7)"
    )
    parser.add_argument(
        "--drop-near", action="store_true", help="leave out near-duplicates (default: keep them together)"
    )
    parser.add_argument("--ray", nargs="?", const="", metavar="ADDRESS", help="prepare files on a Ray cluster")


def _add_sharing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--valid", type=_amount, default=0.04, metavar="P", help="the share to validate by (0.04)")
    parser.add_argument("--test", type=_amount, default=0.04, metavar="P", help="the share to test by (0.04)")
    parser.add_argument("--seed", type=number(0, 2**32 - 1), default=1, help="of the split (1)")
    parser.add_argument("--force", action="store_true", help="replace a corpus that is there")


def _amount(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1e9:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number from 0 on")
    return found


def run(args: argparse.Namespace) -> int:
    """Do what was asked for. Raises CorpusError or OSError."""
    {"build": _build, "show": _show, "import": _import, "export": _export}[args.what](args)
    return 0


def _build(args: argparse.Namespace) -> None:
    from rwkv_music_training.corpus.build import build, here
    from rwkv_music_training.corpus.filters import Filters
    from rwkv_music_training.corpus.preparing import Preparation
    from rwkv_music_training.corpus.reading import Taking
    from rwkv_music_training.corpus.recipe import Recipe
    from rwkv_music_training.corpus.report import report

    filters = Filters(**{field.name: getattr(args, field.name) for field in fields(Filters)})
    tiers = tuple(tier.strip() for tier in args.tiers.split(",") if tier.strip())
    recipe = Recipe(
        Taking(tiers, args.most_bytes),
        Preparation(args.tokenizer, args.clock, filters, args.melody),
        _sharing(args),
        args.seconds,
    )
    if args.ray is None:
        preparing = here(args.processes)
    else:
        from rwkv_music_training.corpus.on_ray import on_ray

        preparing = on_ray(args.ray)
    began = time.monotonic()
    corpus = build(args.places, args.out, recipe, preparing, force=args.force, say=tell)
    passed = time.monotonic() - began
    show(report(corpus))
    tell(f"{corpus.manifest.found:,} pieces in {passed:.1f} s, {corpus.manifest.found / passed:,.0f} a second")


def _sharing(args: argparse.Namespace) -> Any:
    from rwkv_music_training.corpus.sharing import Sharing

    wanted = {field.name: getattr(args, field.name) for field in fields(Sharing) if hasattr(args, field.name)}
    return Sharing(by=getattr(args, "split", "near"), **wanted)


def _show(args: argparse.Namespace) -> None:
    from rwkv_music_training.corpus.corpus import Corpus
    from rwkv_music_training.corpus.report import rejected, report

    corpus = Corpus.open(args.corpus)
    if args.check:
        corpus.check()
    for line in rejected(corpus) if args.rejects else [report(corpus)]:
        show(line)


def _import(args: argparse.Namespace) -> None:
    from rwkv_music_training.corpus.binidx import import_binidx
    from rwkv_music_training.corpus.report import report

    show(report(import_binidx(args.binidx, args.out, args.tokenizer, _sharing(args), force=args.force)))


def _export(args: argparse.Namespace) -> None:
    from rwkv_music_training.corpus.binidx import export_binidx
    from rwkv_music_training.corpus.corpus import Corpus

    for path in export_binidx(Corpus.open(args.corpus), args.split, args.out, force=args.force):
        show(f"{path}\n")
