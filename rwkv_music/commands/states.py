"""Tell what a saved state, a session, or a tuned state of another program holds."""

import argparse
import json
from pathlib import Path
from typing import Any

from rwkv_music.sealed import is_of_form
from rwkv_music.terminal import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("show", help="what a file of --save-state or --save-session holds")
    one.add_argument("file", type=Path, metavar="FILE")
    one.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Tell of one file. Raises UserError or OSError."""
    plain = _told(args.file)
    if args.json:
        show(json.dumps(plain, indent=1) + "\n")
    else:
        width = max(map(len, plain))
        show("".join(f"{name:{width}}  {value}\n" for name, value in plain.items()))
    return 0


def _told(path: Path) -> dict[str, Any]:
    from rwkv_music import session_file

    return session_file.told(path) if is_of_form(path, session_file.FORMAT) else _snapshot(path)


def _snapshot(path: Path) -> dict[str, Any]:
    from rwkv_music.snapshots import read_label

    label = read_label(path)
    runs = label.story.get("runs", [])
    return {
        "kind": "state of a piece",
        "model": label.model,
        "model sha256": label.model_hash,
        "tokenizer": label.tokenizer,
        "prompt tokens": label.prompt_length,
        "runs": len(runs),
        "seed": label.options.seed,
        "ended": label.story.get("ended") is True,
        "temperature": label.options.temperature,
        "top_p": label.options.top_p,
    }
