"""The switchboard: a verb is chosen, its module imported, and a mistake of the person's becomes one line."""

import argparse
import importlib
import io
import sys
from dataclasses import dataclass

from rwkv_music import __version__
from rwkv_music.errors import UserError
from rwkv_music.terminal import tell, visible
from rwkv_music_tokenizers.errors import NotationError


@dataclass(frozen=True)
class Verb:
    """One command: where it is, and what it does."""

    # Has `run(args) -> int`, and may name further exceptions that are the person's to mend in `USER_ERRORS`.
    module: str
    about: str
    # Has `add_arguments(parser)`; where `module` is slow to import, another one, so that mistakes are told at once.
    options: str = ""


VERBS = {
    "generate": Verb("rwkv_music.commands.generate", "continue a piece, or compose one", "rwkv_music.commands.options"),
    "check": Verb("rwkv_music.commands.check", "find every bar that does not add up"),
    "convert": Verb("rwkv_music.commands.convert", "turn ABC into MIDI, sound, a sheet or data"),
    "app": Verb("rwkv_music_app.command", "open the studio, a page in the browser", "rwkv_music_app.options"),
    "serve": Verb(
        "rwkv_music_app.serve_command", "serve the HTTP API, on one machine or many", "rwkv_music_app.serve_options"
    ),
    "play": Verb("rwkv_music.commands.play", "play a piece aloud"),
    "tokens": Verb("rwkv_music.commands.tokens", "tell what a piece is in the tokens of a code, and what it loses"),
    "score": Verb("rwkv_music.commands.score", "tell how surprising a piece is to a model, bar by bar"),
    "states": Verb("rwkv_music.commands.states", "tell what a saved state or session holds"),
    "models": Verb("rwkv_music.commands.models", "list the models, or show one"),
    "corpus": Verb("rwkv_music_training.corpus.command", "make a corpus that models learn from, or show one"),
    "evaluate": Verb(
        "rwkv_music_training.judging.command",
        "judge models on held-out music, side by side",
        "rwkv_music_training.judging.options",
    ),
    "checkpoints": Verb(
        "rwkv_music_training.scale.command",
        "list the checkpoints of a training run, or take a model out of one",
        "rwkv_music_training.scale.options",
    ),
    "train": Verb(
        "rwkv_music_training.learning.command",
        "train a model by a recipe",
        "rwkv_music_training.learning.options",
    ),
    "finetune": Verb(
        "rwkv_music_training.finetune.command", "teach a model your own music", "rwkv_music_training.finetune.options"
    ),
    "doctor": Verb("rwkv_music.commands.doctor", "tell what is installed, what is used, and why"),
}


class Parser(argparse.ArgumentParser):
    """Argparse's own, whose complaints are fit for a terminal."""

    def error(self, message: str):
        super().error(visible(message))


def dispatch(words: list[str]) -> int:
    """Run a command line and return its exit code: 0, 1 or 2. Raises OSError when standard output fails."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files may hold bytes that are no characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        first = _parser().parse_args(words[:1] or ["--help"])
        args = parser_of(first.verb).parse_args(words[1:])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return _perform(importlib.import_module(VERBS[first.verb].module), args)


def parser_of(verb: str) -> argparse.ArgumentParser:
    """What reads the options of a verb."""
    options = importlib.import_module(VERBS[verb].options or VERBS[verb].module)
    parser = Parser(prog=f"rwkv-music {verb}", description=options.__doc__)
    options.add_arguments(parser)
    return parser


def _perform(module, args: argparse.Namespace) -> int:
    try:
        return module.run(args)
    except UserError as error:
        return _complain(str(error), error.code)
    except (NotationError, *getattr(module, "USER_ERRORS", ())) as error:
        return _complain(str(error), 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None:
            raise
        return _complain(f"{error.filename}: {error.strerror or error}", 1)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:{width}}  {verb.about}" for name, verb in VERBS.items())
    parser = Parser(
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
    tell(f"rwkv-music: {' '.join(message.split())}")
    return code
