"""The switchboard: a verb is chosen, its module imported, and whatever goes wrong becomes one line and an exit code."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from rwkv_music import __version__
from rwkv_music.errors import UserError
from rwkv_music_tokenizers.errors import NotationError

# Verb: the module with its `add_arguments(parser)` and `run(args) -> int`, and what it does. The module may name
# further exceptions that are the user's to mend in `USER_ERRORS`.
VERBS = {
    "generate": ("rwkv_music.commands.generate", "continue a tune, or compose one from a header"),
    "check": ("rwkv_music.commands.check", "find every bar that does not add up"),
    "convert": ("rwkv_music.commands.convert", "turn ABC into MIDI, sound, a sheet or data"),
    "models": ("rwkv_music.commands.models", "list the models, or show one"),
    "doctor": ("rwkv_music.commands.doctor", "tell what is installed, what is used, and why"),
}
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of the process) and return its exit code: 0, 1, 2 or 130."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; the null device keeps the interpreter from complaining on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(words: list[str]) -> int:
    first = _parser().parse_args(words[:1] or ["--help"])
    module = importlib.import_module(VERBS[first.verb][0])
    parser = argparse.ArgumentParser(prog=f"rwkv-music {first.verb}", description=module.__doc__)
    module.add_arguments(parser)
    args = parser.parse_args(words[1:])
    try:
        return module.run(args)
    except UserError as error:
        return _complain(str(error), error.code)
    except (NotationError, *getattr(module, "USER_ERRORS", ())) as error:
        return _complain(str(error), 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"{where}{error.strerror or error}", 1)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:{width}}  {what}" for verb, (_module, what) in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="rwkv-music",
        usage="rwkv-music [-h] [--version] VERB ...",
        description="Make music with RWKV models.",
        epilog=f"verbs:\n{verbs}\n\n'rwkv-music VERB --help' tells the options of a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rwkv-music {__version__}")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="what to do, see below")
    return parser


def _complain(message: str, code: int) -> int:
    lines = " ".join(message.split())
    print(f"rwkv-music: {lines}", file=sys.stderr)
    return code
