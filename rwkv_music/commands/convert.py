"""Turn a piece in ABC, MIDI, MusicXML, JSON or tokens into MIDI, sound, a sheet, data, tokens, or ABC, by OUT's suffix.

MIDI goes into MIDI, sound and tokens as it is played; into everything else it goes as it would be written.
"""

import argparse
from pathlib import Path

from rwkv_music.commands.arguments import number
from rwkv_music.errors import UsageError, UserError
from rwkv_music.files import refuse_overwriting, write_whole
from rwkv_music.reading.pieces import SUFFIXES as SOURCES
from rwkv_music.reading.pieces import Piece, read_piece
from rwkv_music.reading.token_text import CODES, write_tokens
from rwkv_music.render.save import SUFFIXES, save_score
from rwkv_music.render.works import MIDI_SUFFIXES, SOUND_SUFFIX, save_work
from rwkv_music.terminal import tell
from rwkv_music.works import Played
from rwkv_music_tokenizers.time_grid import GRIDS

# Far beyond any tune, and played, engraved and written within seconds.
MOST_EVENTS = 20_000
TOKENS_SUFFIX = ".tokens"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("source", metavar="IN", help=f"file to read: {', '.join(SOURCES)}; - reads standard input")
    parser.add_argument(
        "target", metavar="OUT", type=Path, help=f"file to write: {', '.join((*SUFFIXES, TOKENS_SUFFIX))}"
    )
    parser.add_argument(
        "--tune", type=number(1, 10**9), metavar="N", help="which tune of a tunebook (default: the first)"
    )
    parser.add_argument(
        "--grid", choices=GRIDS, help="notes that MIDI is written in; t: and triplets (default: what fits)"
    )
    parser.add_argument("--tokenizer", choices=CODES, default=CODES[0], help="the code of a .tokens file")
    parser.add_argument("--no-chords", action="store_true", help="do not play chord symbols as an accompaniment")
    parser.add_argument("--soundfont", type=Path, metavar="FILE", help="instruments for .wav, an .sf2 file")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Write one file. Raises UserError, NotationError or OSError."""
    suffix = args.target.suffix.lower()
    if suffix not in (*SUFFIXES, TOKENS_SUFFIX):
        raise UsageError(f"{args.target}: the suffix chooses the format: {', '.join((*SUFFIXES, TOKENS_SUFFIX))}")
    refuse_overwriting([args.target], force=args.force)
    piece = read_piece(None if args.source == "-" else Path(args.source), args.tune)
    if suffix == TOKENS_SUFFIX:
        write_whole(args.target, write_tokens(piece.played(), args.tokenizer).encode())
        approximate = ""
    elif piece.performance is not None and suffix in (*MIDI_SUFFIXES, SOUND_SUFFIX) and args.grid is None:
        save_work(Played(piece.performance), args.target, soundfont=args.soundfont, remarks=piece.remarks)
        approximate = ""
    else:
        approximate = _save_written(piece, args)
    if not args.quiet:
        for line in filter(None, (*piece.told, approximate)):
            tell(line)
    return 0


def _save_written(piece: Piece, args: argparse.Namespace) -> str:
    """Write the piece as a score. Returns what is approximate about it."""
    score, approximate = piece.written(args.grid or "")
    events = sum(len(bar.events) for bar in score.bars())
    if events > MOST_EVENTS:
        raise UserError(f"{args.source} holds {events:,} notes and rests; at most {MOST_EVENTS:,} can be converted")
    accompaniment = not args.no_chords
    save_score(score, args.target, soundfont=args.soundfont, accompaniment=accompaniment, remarks=piece.remarks)
    return approximate and f"{args.source}: {approximate}"
