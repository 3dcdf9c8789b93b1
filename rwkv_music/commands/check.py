"""Find every bar of ABC files that does not add up. Exits with 1 when there is one."""

import argparse
from fractions import Fraction
from pathlib import Path

from rwkv_music.files import read_text, refuse_foreign
from rwkv_music.terminal import counted, show, tell
from rwkv_music_tokenizers.abc_reader import read_tunebook
from rwkv_music_tokenizers.bars import BarFault, check_bars
from rwkv_music_tokenizers.errors import NotationError, NotationWarning, Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="ABC file or tunebook; - reads standard input")
    parser.add_argument("-q", "--quiet", action="store_true", help="tell only the bars, no warnings and no count")


def run(args: argparse.Namespace) -> int:
    """Print one line a faulty bar; return 1 when there is one or a file cannot be read as ABC."""
    faulty = False
    for name in args.files:
        faulty = _check(name, args.quiet) or faulty
    return 1 if faulty else 0


def _check(name: str, quiet: bool) -> bool:
    text = read_text(None if name == "-" else Path(name))
    refuse_foreign(text, name)
    try:
        scores = read_tunebook(text)
    except NotationError as error:
        tell(f"rwkv-music: {spot(name, error.place)}: {error.message}")
        return True
    faults = [fault for score in scores for fault in check_bars(score)]
    for fault in faults:
        show(f"{spot(name, fault.place)}: {fault.message} ({_amount(fault)})\n")
    if not quiet:
        _tell(name, [warning for score in scores for warning in score.warnings])
        bars = sum(1 for score in scores for _bar in score.bars())
        tell(f"{name}: {counted(len(scores), 'tune')}, {counted(bars, 'bar')}, {len(faults):,} wrong")
    return bool(faults)


def _tell(name: str, warnings: list[NotationWarning]) -> None:
    for warning in warnings:
        tell(f"{spot(name, warning.place)}: warning: {warning.message}")


def spot(name: str, place: Place | None) -> str:
    """A place in a file as editors and compilers write it."""
    return f"{name}:{place.line}:{place.column}" if place else name


def _amount(fault: BarFault) -> str:
    wholes: Fraction = abs(fault.excess) / 4
    return f"{wholes.numerator}/{wholes.denominator} too {'long' if fault.excess > 0 else 'short'}"
