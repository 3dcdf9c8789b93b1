"""Play a piece aloud, through whatever plays sound on this machine. Ctrl-C stops it."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rwkv_music.commands.arguments import number
from rwkv_music.errors import UserError
from rwkv_music.prompts import Source, read_source
from rwkv_music.terminal import tell
from rwkv_music.works import Played, Tune

# Programs that play a WAV file and return when it is over, the most usual first.
PLAYERS = (
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("afplay",),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("play", "-q"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("piece", metavar="FILE", help="ABC, MIDI or MusicXML; - reads ABC from standard input")
    parser.add_argument("--tune", type=number(1, 10**9), metavar="N", help="which tune of a tunebook")
    parser.add_argument("--no-chords", action="store_true", help="do not play chord symbols as an accompaniment")
    parser.add_argument("--soundfont", type=Path, metavar="FILE", help="instruments, an .sf2 file")


def run(args: argparse.Namespace) -> int:
    """Play one piece. Raises UserError, NotationError or OSError."""
    player = find_player()
    source = read_source(args.piece, args.tune)
    for remark in source.remarks:
        tell(remark)
    from rwkv_music.render.works import save_work

    with tempfile.TemporaryDirectory(prefix="rwkv-music-") as folder:
        path = Path(folder) / "piece.wav"
        save_work(_work(source), path, soundfont=args.soundfont, accompaniment=not args.no_chords)
        _play(player, path)
    return 0


def find_player() -> tuple[str, ...]:
    """The command that plays a WAV file; empty on Windows, which plays it itself. Raises UserError where there is none."""
    if sys.platform == "win32":
        return ()
    found = next((player for player in PLAYERS if shutil.which(player[0])), None)
    if found is None:
        names = ", ".join(player[0] for player in PLAYERS)
        raise UserError(
            f"nothing here plays sound (looked for {names}); write a .wav with `rwkv-music convert` instead"
        )
    return found


def _work(source: Source) -> Tune | Played:
    if source.performance is not None:
        return Played(source.performance)
    return Tune(source.text or "")


def _play(player: tuple[str, ...], path: Path) -> None:
    if sys.platform == "win32":
        import winsound

        winsound.PlaySound(str(path), winsound.SND_FILENAME)
        return
    done = subprocess.run([*player, str(path)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it did not say why"])[-1]
        raise UserError(f"{player[0]} could not play it: {told[:200]}")
