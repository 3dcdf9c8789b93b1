"""List the models there are, show what one is made of, fetch one, or write one in another form."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rwkv_music.catalogue import published_models
from rwkv_music.errors import UserError
from rwkv_music.hub import cached_file, hub_file, pull
from rwkv_music.library import DEFAULT_MODEL, ModelNotFoundError, embedded_models, find_model

TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verbs = parser.add_subparsers(dest="what", required=True, metavar="list|show|pull|convert")
    several = verbs.add_parser("list", help="name the embedded and the published models")
    several.add_argument("--json", action="store_true", help="everything that is known of them, as JSON")
    show = verbs.add_parser("show", help="tell what a model is: its version, sizes, tokenizer, settings")
    show.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="name, folder or weights file")
    fetch = verbs.add_parser("pull", help="fetch a model from the Hugging Face hub into its cache")
    fetch.add_argument("model", help="short name (see list), or owner/repository[@revision][/file]")
    fetch.add_argument("--revision", help="branch, tag or commit")
    convert = verbs.add_parser("convert", help="write a model as .pth, .safetensors, .gguf, or a folder")
    convert.add_argument("model", help="name, folder or weights file")
    convert.add_argument("out", type=Path, help="file or folder to write; its suffix says the form, a folder is fla's")
    convert.add_argument("--type", choices=TYPES, help="of the matrices in a .gguf (default: bf16)")
    convert.add_argument("--force", action="store_true", help="overwrite")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    {"list": _list, "show": _show, "pull": _pull, "convert": _convert}[args.what](args)
    return 0


def _list(args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps({name: _known(name) for name in (*embedded_models(), *published_models())}, indent=2))
        return
    for name in embedded_models():
        size = find_model(name).weights.stat().st_size
        print(f"{name:18} {size / 2**20:7.1f} MiB  embedded{'  (default)' * (name == DEFAULT_MODEL)}")
    for name, model in published_models().items():
        size = f"{model.bytes / 2**20:7.1f} MiB" if model.bytes else "      ? MiB"
        print(f"{name:18} {size}  {_place(name)}  RWKV-{model.version}, {model.tokenizer}: {model.about}")


def _known(name: str) -> dict[str, Any]:
    if name in embedded_models():
        config = find_model(name).config
        return {"embedded": True, **(dict(config.about) if config else {})}
    return {"embedded": False, "place": _place(name), **_plain(asdict(published_models()[name]))}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _place(name: str) -> str:
    wanted = hub_file(name)
    return "fetched " if wanted and cached_file(wanted) else "to fetch"


def _show(args: argparse.Namespace) -> None:
    try:
        files = find_model(args.model)
    except ModelNotFoundError:
        if args.model not in published_models():
            raise
        print(json.dumps(_known(args.model), indent=2, ensure_ascii=False))
        return
    findings = _findings(files.weights)
    print(f"weights: {files.weights} ({files.weights.stat().st_size:,} bytes)")
    for topic, text in findings:
        print(f"{topic}: {text}")
    if files.config:
        print(json.dumps(_plain(files.config.about), indent=2, ensure_ascii=False))
    card = files.weights.parent / "README.md"
    if card.is_file():
        print(f"card: {card}")


def _findings(path: Path) -> list[tuple[str, str]]:
    """What can be read off the tensors themselves."""
    import math
    from collections import Counter

    from rwkv_music.checkpoint.load import load_weights
    from rwkv_music.checkpoint.source import CheckpointError
    from rwkv_music.model.spec import ModelError
    from rwkv_music.model.versions import read_spec, tidy

    try:
        tensors = load_weights(path)
        spec = read_spec(tensors.shapes)
        used = tidy(tensors, spec)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    except ModelError as error:
        raise UserError(f"{path}: {error}") from None
    dimensions = {name: value for name, value in asdict(spec).items() if name != "version"}
    types = Counter(str(stored.dtype).removeprefix("torch.") for stored in tensors.tensors.values())
    findings = [
        ("version", f"RWKV-{spec.version}"),
        ("layout", tensors.layout),
        ("dimensions", ", ".join(f"{name} {value}" for name, value in dimensions.items())),
        ("parameters", f"{sum(math.prod(shape) for shape in used.shapes.values()):,}"),
        ("types", ", ".join(f"{count} tensors of {kind}" for kind, count in types.most_common())),
    ]
    if any("time_state" in name for name in tensors):
        findings.append(("start", "a tuned start state lies beside the weights"))
    return findings


def _pull(args: argparse.Namespace) -> None:
    wanted = hub_file(args.model, args.revision)
    if wanted is None:
        raise ModelNotFoundError(
            f"no model '{args.model}' on the hub: name one of `rwkv-music models list`, or owner/repository"
        )
    print(pull(wanted))


def _convert(args: argparse.Namespace) -> None:
    from rwkv_music.checkpoint.convert import convert_weights
    from rwkv_music.checkpoint.source import CheckpointError

    try:
        convert_weights(find_model(args.model).weights, args.out, args.type, force=args.force)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    print(args.out)
