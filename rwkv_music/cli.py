"""The way in: whatever goes wrong becomes one line and an exit code.

Little is imported before `main` runs, so that Ctrl-C finds somebody listening as early as can be.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of the process) and return its exit code: 0, 1, 2 or 130."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("rwkv-music: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except OSError as error:
        # A reader who has gone needs no word. The null device keeps the interpreter from complaining on its way out.
        if not isinstance(error, BrokenPipeError):
            print(f"rwkv-music: standard output: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        # The process itself is about to end, and Ctrl-C has nothing left to end.
        if arguments is None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        elif before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def _run(words: list[str]) -> int:
    # In this order, so that a stream that was closed gets its own number back, and no file of ours does.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    from rwkv_music.switchboard import dispatch

    return dispatch(words)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C ends the work in order, a second one at once."""
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"rwkv-music: interrupted\n")
    os._exit(EXIT_INTERRUPTED)
