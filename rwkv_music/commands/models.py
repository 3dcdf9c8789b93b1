"""List the embedded models, or show what one of them is made of."""

import argparse
import json

from rwkv_music.library import DEFAULT_MODEL, embedded_models, find_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verbs = parser.add_subparsers(dest="what", required=True, metavar="list|show")
    verbs.add_parser("list", help="name the embedded models")
    show = verbs.add_parser("show", help="tell what a model's config and card say")
    show.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="embedded model, folder or weights file")


def run(args: argparse.Namespace) -> int:
    """Print names, or one model's config."""
    if args.what == "list":
        for name in embedded_models():
            size = find_model(name).weights.stat().st_size
            print(f"{name}  {size / 2**20:.1f} MiB{'  (default)' * (name == DEFAULT_MODEL)}")
        return 0
    files = find_model(args.model)
    print(f"weights: {files.weights} ({files.weights.stat().st_size:,} bytes)")
    if files.config:
        print(json.dumps(dict(files.config.about), indent=2, ensure_ascii=False))
    card = files.weights.parent / "README.md"
    if card.is_file():
        print(f"card: {card}")
    return 0
