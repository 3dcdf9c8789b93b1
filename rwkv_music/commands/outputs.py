"""Where takes go: under which names, in which formats, and what is told when one of them cannot be made."""

import argparse
import os
import sys
from pathlib import Path

from rwkv_music.errors import UsageError, UserError
from rwkv_music.files import fresh_paths, refuse_overwriting
from rwkv_music.made import Made
from rwkv_music.render.save import SUFFIXES
from rwkv_music.render.soundfonts import find_soundfont
from rwkv_music.terminal import reason, show
from rwkv_music.works import Played, Tune
from rwkv_music_tokenizers.errors import NotationError

STDOUT = "-"
FRESH_SUFFIXES = {Tune: (".abc", ".mid"), Played: (".mid",)}


class Outputs:
    """The files that takes are written to. `wanted` as given by -o; empty for fresh names in a folder."""

    def __init__(self, args: argparse.Namespace, stem: str, folder: Path):
        self.args = args
        self.stem = stem
        self.folder = folder if os.access(folder, os.W_OK) else Path()
        self.wanted = [Path(name) for name in args.output if name != STDOUT]
        # A tune goes to standard output when no file is named for it; of what is played, only where "-" asks for it.
        self.to_stdout = STDOUT in args.output or not args.output
        for path in self.wanted:
            if path.suffix.lower() not in SUFFIXES:
                raise UsageError(f"-o {path}: the suffix chooses the format: {', '.join(SUFFIXES)}")
        named = [self._numbered(path, number) for path in self._all_named() for number in range(args.takes)]
        if len(set(named)) < len(named):
            raise UsageError("-o names a file twice")
        refuse_overwriting(named, force=args.force)
        if args.soundfont is not None:
            find_soundfont(args.soundfont)

    def _all_named(self) -> list[Path]:
        kept = (self.args.save_state, self.args.save_session)
        return [*self.wanted, *(path for path in kept if path)]

    def _numbered(self, path: Path, number: int) -> Path:
        return path if self.args.takes == 1 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")

    def state_path(self, number: int) -> Path:
        """Where take `number`, counted from 0, leaves its state."""
        return self._numbered(self.args.save_state, number)

    def write(self, take: Made, number: int, *, shown: bool) -> tuple[list[Path], list[str]]:
        """Write take `number`, counted from 0; return the files written and what went wrong.

        `shown`: the tune was seen on the terminal already, and is not printed there once more.
        """
        paths = [self._numbered(path, number) for path in self.wanted]
        if not self.args.output:
            paths = fresh_paths(self.folder, self.stem, FRESH_SUFFIXES[type(take.work)])
        written: list[Path] = []
        troubles: list[str] = []
        for path in paths:
            self._write_one(take, path, written, troubles)
        printed = STDOUT in self.args.output or isinstance(take.work, Tune)
        if self.to_stdout and printed and not (shown and sys.stdout.isatty()):
            self._print(take, number, troubles)
        return written, troubles

    @property
    def useless(self) -> bool:
        """Nothing that is made from now on would come anywhere."""
        return self.args.output == [STDOUT] and not self.to_stdout and not self.args.save_state

    def _print(self, take: Made, number: int, troubles: list[str]) -> None:
        try:
            show("\n" * (number > 0) + take.remembered())
        except OSError as error:
            troubles.append(f"the tune could not be written to standard output: {reason(error)}")
            self.to_stdout = False

    def _write_one(self, take: Made, path: Path, written: list[Path], troubles: list[str]) -> None:
        try:
            take.save(path, self.args.soundfont, accompaniment=not self.args.no_chords)
            written.append(path)
        except (UserError, NotationError, OSError) as error:
            troubles.append(f"{path} could not be written: {reason(error)}")
            instead = path.with_suffix(".mid")
            has_midi = any(other.suffix.lower() in (".mid", ".midi") for other in self.wanted)
            if path.suffix.lower() == ".wav" and not has_midi and not instead.exists():
                # What cannot be heard here can be heard elsewhere.
                self._write_one(take, instead, written, troubles)
