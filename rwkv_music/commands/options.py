"""Continue a piece, or compose one. It goes to standard output, or to the files named by -o."""

import argparse
from pathlib import Path

from rwkv_music.commands.arguments import number, seconds
from rwkv_music.library import DEFAULT_MODEL

MOST_TAKES = 1000
MOST_THREADS = 1024
MOST_BARS = 10_000
MOST_TOKENS = 10_000_000
# Those of the engine, named here because asking it takes seconds; the first is the default.
DTYPES = ("float32", "bfloat16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    begin = parser.add_argument_group("what to begin with")
    begin.add_argument(
        "-p", "--prompt", metavar="FILE|-|ABC", help="file (.abc .mid .musicxml), standard input, or ABC itself"
    )
    begin.add_argument("--prompt-bars", type=number(1, MOST_BARS), metavar="N", help="hear only its first N bars")
    begin.add_argument(
        "--tune", type=number(1, 10**9), metavar="N", help="which tune of a tunebook (default: the first)"
    )
    begin.add_argument("--key", help="key of a piece without one: D, Am, Edor, ...")
    begin.add_argument("--meter", help="its meter: 4/4, 6/8, C|, ...")
    begin.add_argument("--tempo", metavar="Q", help="its tempo, quarters a minute: 112")
    begin.add_argument(
        "--instruments", metavar="NAMES", help="who plays: piano, strings, song, tune, or violin,cello,drums, ..."
    )
    begin.add_argument("--rhythm", help="its rhythm: reel, jig, waltz, polka, ...")
    begin.add_argument("--unit", help="its unit note length: 1/8, 1/16")
    begin.add_argument("--title", help="its title")
    begin.add_argument("--state", type=Path, metavar="FILE", help="go on exactly where --save-state stopped")
    begin.add_argument("--session", type=Path, metavar="FILE", help="go on from a take that --save-session kept")
    begin.add_argument(
        "--take", type=number(0, 10**6), metavar="N", help="which take, 0 is the prompt (default: the last)"
    )
    begin.add_argument("--from-bar", type=number(0, 10**6), metavar="N", help="go on behind its Nth new bar line")
    begin.add_argument("--like", type=Path, metavar="FILE", help="repeat what made FILE; other options change it")
    _add_drawing(parser.add_argument_group("how to go on"))
    _add_limits(parser.add_argument_group("what new music is kept to"))
    out = parser.add_argument_group("where it goes")
    out.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help=".abc .mid .wav .svg .pdf .musicxml .json, - for standard output (default: ABC and MIDI by the prompt)",
    )
    out.add_argument(
        "-n",
        "--takes",
        type=number(1, MOST_TAKES),
        default=1,
        metavar="N",
        help="make N takes: t.abc becomes t-1.abc, t-2.abc, ...",
    )
    out.add_argument("--save-state", type=Path, metavar="FILE", help="keep the state to go on later (--state)")
    out.add_argument(
        "--save-session", type=Path, metavar="FILE", help="keep the prompt and all takes, to go on from any"
    )
    out.add_argument("--force", action="store_true", help="overwrite files that exist")
    out.add_argument("--no-chords", action="store_true", help="do not play chord symbols as an accompaniment")
    out.add_argument("--soundfont", type=Path, metavar="FILE", help="instruments for .wav, an .sf2 file")
    out.add_argument("-q", "--quiet", action="store_true", help="say nothing but the seed, the files and errors")


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--range", metavar="LOW-HIGH", help="keep melodies between two pitches: C3-C6, 48-84")
    group.add_argument("--scale", metavar="KEY", help="keep to the notes of a key: D, Am, Edor")
    group.add_argument("--only", metavar="NAMES", help="let only these instruments play: violin,cello")
    group.add_argument("--no-drums", action="store_true", help="no drums")
    group.add_argument("--polyphony", type=int, metavar="N", help="at most N notes at once in one instrument")


def _add_drawing(how: argparse._ArgumentGroup) -> None:
    length = how.add_mutually_exclusive_group()
    length.add_argument(
        "--bars", type=number(1, MOST_BARS), metavar="N", help="add N bars (default: the model ends the piece)"
    )
    length.add_argument(
        "--seconds", type=seconds, metavar="S", help="add so much, to the bar that is then being played"
    )
    how.add_argument(
        "--end",
        action=argparse.BooleanOptionalAction,
        help="bring the piece to its end there, instead of cutting it at a bar line",
    )
    how.add_argument("--free", action="store_true", help="write whatever the model likes, even if it is no valid music")
    how.add_argument(
        "--max-tokens", type=number(1, MOST_TOKENS), metavar="N", help="stop after N tokens whatever happens"
    )
    how.add_argument(
        "--temperature", type=float, metavar="T", help="above 1 bolder, below 1 tamer, 0 the likeliest always"
    )
    how.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest that hold the share P; 1 is off")
    how.add_argument(
        "--top-p-first",
        action=argparse.BooleanOptionalAction,
        help="let top-p cut before top-k (default: what the model's makers do)",
    )
    how.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest; 0 is off")
    how.add_argument(
        "--min-p", type=float, metavar="P", help="leave out what is less likely than P times the likeliest; 0 is off"
    )
    how.add_argument(
        "--seed", type=int, metavar="S", help="the same seed makes the same tune (default: drawn, and told)"
    )
    how.add_argument("-m", "--model", help=f"embedded model, model folder or weights file (default: {DEFAULT_MODEL})")
    how.add_argument(
        "--style",
        action="append",
        default=[],
        metavar="NAME[:WEIGHT]",
        help="a style of the model, by name or file (see models list); several are mixed",
    )
    how.add_argument("--threads", type=number(1, MOST_THREADS), metavar="N", help="threads to compute with")
    how.add_argument("--device", help="where to compute: cpu, cuda or cuda:N (default: cpu)")
    how.add_argument("--dtype", choices=DTYPES, help=f"number type of the weights (default: {DTYPES[0]})")
