"""Turn a tune in ABC into MIDI, sound, a sheet, data, or tidy ABC: the suffix of OUT chooses."""

import argparse
from pathlib import Path

from rwkv_music.commands.arguments import number
from rwkv_music.commands.check import spot
from rwkv_music.errors import UsageError, UserError
from rwkv_music.files import read_text, refuse_foreign, refuse_overwriting
from rwkv_music.making import find_making
from rwkv_music.render.save import SUFFIXES, save_score
from rwkv_music.terminal import tell
from rwkv_music.tunebook import pick_tune
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import NotationError

# Far beyond any tune, and played, engraved and written within seconds.
MOST_EVENTS = 20_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("source", metavar="IN", help="ABC file or tunebook; - reads standard input")
    parser.add_argument("target", metavar="OUT", type=Path, help=f"file to write: {', '.join(SUFFIXES)}")
    parser.add_argument(
        "--tune", type=number(1, 10**9), metavar="N", help="which tune of a tunebook (default: the first)"
    )
    parser.add_argument("--no-chords", action="store_true", help="do not play chord symbols as an accompaniment")
    parser.add_argument("--soundfont", type=Path, metavar="FILE", help="instruments for .wav, an .sf2 file")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Write one file. Raises UserError, NotationError or OSError."""
    if args.target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{args.target}: the suffix chooses the format: {', '.join(SUFFIXES)}")
    refuse_foreign("", args.source)
    refuse_overwriting([args.target], force=args.force)
    text = read_text(None if args.source == "-" else Path(args.source))
    refuse_foreign(text, args.source)
    tune, remark = pick_tune(text, args.tune, args.source)
    try:
        score = read_abc(tune)
    except NotationError as error:
        name = f"{args.source}, tune {args.tune}" if args.tune else args.source
        raise UserError(f"{spot(name, error.place)}: {error.message}") from None
    events = sum(len(bar.events) for bar in score.bars())
    if events > MOST_EVENTS:
        raise UserError(f"{args.source} holds {events:,} notes and rests; at most {MOST_EVENTS:,} can be converted")
    making = find_making(tune.encode())
    remarks = [making.line()] if making else []
    save_score(score, args.target, soundfont=args.soundfont, accompaniment=not args.no_chords, remarks=remarks)
    if not args.quiet:
        odd = len(score.warnings)
        notes = [remark, f"{odd} oddit{'ies' if odd > 1 else 'y'}: rwkv-music check {args.source}" if odd else ""]
        for note in filter(None, notes):
            tell(note)
    return 0
