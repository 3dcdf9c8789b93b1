"""What a person sees while a tune is made: its notes as they come, how fast, and that Ctrl-C is heard."""

import os
import signal
import sys
import threading
import time
from types import FrameType

from rwkv_music.terminal import counted, tell, visible

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Progress:
    """Writes a growing tune to standard error when that is a terminal, and a line at its end. Quiet keeps it to itself."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.live = not quiet and sys.stderr.isatty()
        self._coloured = self.live and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._begun = 0.0
        self._count, self._several = 0, 1

    def begin(self, written: str, several: int = 1) -> None:
        """Takes begin with what stands already; of several at once the first is shown."""
        self._count, self._several, self._begun = 0, several, time.monotonic()
        if self.live:
            self._write(f"{DIM}{visible(written)}{PLAIN}" if self._coloured else visible(written))

    def add(self, text: str, first: bool = True) -> None:
        """A token of a take; whether it is the first of those that are made together."""
        self._count += 1
        if self.live and first:
            self._write(visible(text))

    def end(self, summary: str, tokens: int) -> None:
        """A take of so many tokens is made; `summary` says which."""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        if self.live:
            self._write("\n")
        speed = f" ({self._count / seconds:.0f}/s{' all together' * (self._several > 1)})"
        self.say(f"{summary}, {counted(tokens, 'token')} in {seconds:.1f} s{speed}")

    def say(self, line: str) -> None:
        if not self.quiet:
            tell(line)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class Interrupt:
    """Inside it the first Ctrl-C only asks to stop, so that what was made is kept; the second ends it all."""

    def __init__(self) -> None:
        self.asked = False
        self._before = signal.SIG_DFL

    def __call__(self) -> bool:
        return self.asked

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
