"""List the models there are, show what one is made of, fetch one, write one in another form, or several as one."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rwkv_music.catalogue import published_models
from rwkv_music.errors import UserError
from rwkv_music.hub import cached_file, hub_file, pull
from rwkv_music.library import (
    DEFAULT_MODEL,
    ModelFiles,
    ModelNotFoundError,
    chosen,
    embedded_models,
    find_model,
    find_style,
    styles_of,
    user_models,
)
from rwkv_music.terminal import counted, show

LAYOUTS = ("official", "safetensors", "fla", "gguf")
TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
# What vocabularies of these sizes usually are.
USUAL = {128: "abc", 427: "remi", 2176: "midipiano", 16000: "mmm", 20096: "midi"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verbs = parser.add_subparsers(dest="what", required=True, metavar="list|show|pull|convert|mix")
    several = verbs.add_parser("list", help="name the embedded and the published models")
    several.add_argument("--json", action="store_true", help="everything that is known of them, as JSON")
    one = verbs.add_parser("show", help="tell what a model is: its version, sizes, tokenizer, settings")
    one.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help="name, folder or weights file; MODEL+STYLE: a style"
    )
    fetch = verbs.add_parser("pull", help="fetch a model from the Hugging Face hub into its cache")
    fetch.add_argument("model", help="short name (see list), or owner/repository[@revision][/file]")
    fetch.add_argument("--revision", help="branch, tag or commit")
    convert = verbs.add_parser("convert", help="write a model as .pth, .safetensors, .gguf, or a folder")
    convert.add_argument("model", metavar="IN", help="name, folder or weights file")
    convert.add_argument("out", metavar="OUT", type=Path, help="file to write, or a folder, which is fla's")
    convert.add_argument("--layout", choices=LAYOUTS, help="how tensors are named (default: what OUT's suffix says)")
    convert.add_argument("--type", choices=TYPES, help="f32, f16, bf16; in a .gguf, where bf16 is the default, any")
    convert.add_argument("--force", action="store_true", help="overwrite")
    mix = verbs.add_parser("mix", help="write the mean of the weights of models that were trained from the same one")
    mix.add_argument("models", metavar="MODEL[:SHARE]", nargs="+", help="names, folders or weights files")
    mix.add_argument("-o", "--out", required=True, type=Path, help="file to write: .pth, .safetensors or .gguf")
    mix.add_argument("--type", choices=TYPES, default="bf16", help="f32, f16, bf16; in a .gguf any (default: bf16)")
    mix.add_argument("--soften", type=float, default=1.0, help="divide all logits, above 1 for more even odds")
    mix.add_argument("--force", action="store_true", help="overwrite")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for. Raises UserError or OSError."""
    {"list": _list, "show": _show, "pull": _pull, "convert": _convert, "mix": _mix}[args.what](args)
    return 0


def _list(args: argparse.Namespace) -> None:
    models = {name: _local(name, "embedded") for name in embedded_models()}
    models |= {name: _local(name, "yours") for name in user_models() if name not in models}
    models |= {name: {"place": _place(name), **model.plain()} for name, model in published_models().items()}
    if args.json:
        _say(json.dumps(models, indent=2))
        return
    for name, known in models.items():
        size = f"{known['bytes'] / 2**20:6.1f} MiB" if known["bytes"] else f"{'?':>6} MiB"
        about = f"RWKV-{known['version']}, {known['tokenizer']}: {known['about']}" if "about" in known else ""
        default = "the default" if name == DEFAULT_MODEL else ""
        _say(f"{name:17} {size}  {known.get('licence') or 'licence ?':10}  {known['place']:10}  {about or default}")
        for style in known.get("styles", ()):
            _say(f"  + {style}")


def _local(name: str, place: str) -> dict[str, Any]:
    files = find_model(name)
    about = _plain(files.config.about) if files.config else {}
    licence = about.get("license", about.get("licence"))
    size, styles = files.weights.stat().st_size, list(styles_of(files))
    return {**about, "place": place, "bytes": size, "licence": licence, "styles": styles}


def _place(name: str) -> str:
    """Where a published model is: fetched, on the hub, or on none."""
    if published_models()[name].repo is None:
        return "elsewhere"
    wanted = hub_file(name)
    return "fetched" if wanted and cached_file(wanted) else "on the hub"


def _show(args: argparse.Namespace) -> None:
    known = published_models().get(args.model)
    try:
        files = find_model(args.model)
    except UserError:
        if known is None:
            raise
        _say(json.dumps({"place": _place(args.model), **known.plain()}, indent=2, ensure_ascii=False))
        return
    if styles := chosen(args.model).styles:
        _show_styles(styles, files)
        return
    # Nothing is said about a file that turns out to be none of ours.
    findings = dict(_findings(files))
    _say(f"weights: {files.weights} ({files.weights.stat().st_size:,} bytes)")
    for topic, text in findings.items():
        _say(f"{topic}: {text}")
    if styles := styles_of(files):
        _say(f"styles: {', '.join(styles)}")
    if files.config:
        _say(json.dumps(_plain(files.config.about), indent=2, ensure_ascii=False))
    card = files.weights.parent / "README.md"
    if card.is_file():
        _say(f"card: {card}")


def _show_styles(styles: Sequence[tuple[str, float]], files: ModelFiles) -> None:
    """What styles say about themselves."""
    from rwkv_music.styles import told

    for name, _ in styles:
        path = find_style(name, files)
        _say(f"style: {path} ({path.stat().st_size:,} bytes)")
        _say(json.dumps(told(path), indent=2, ensure_ascii=False))


def _findings(files: ModelFiles) -> Iterator[tuple[str, str]]:
    """What can be read off the tensors themselves."""
    import math
    from collections import Counter

    from rwkv_music.checkpoint.load import load_weights
    from rwkv_music.checkpoint.source import CheckpointError
    from rwkv_music.model.spec import ModelError
    from rwkv_music.model.versions import read_spec, tidy

    try:
        tensors = load_weights(files.weights)
        if part := _part(tensors.shapes):
            yield "no whole model", part
            return
        spec = read_spec(tensors.shapes)
        used = tidy(tensors, spec)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    except ModelError as error:
        raise UserError(f"{files.weights}: {error}") from None
    types = Counter(str(stored.dtype).removeprefix("torch.") for stored in tensors.tensors.values())
    yield "version", f"RWKV-{spec.version}"
    yield "layout", tensors.layout
    yield "dimensions", ", ".join(f"{name} {value}" for name, value in asdict(spec).items() if name != "version")
    yield "parameters", f"{sum(math.prod(shape) for shape in used.shapes.values()):,}"
    yield "types", ", ".join(f"{count} tensors of {kind}" for kind, count in types.most_common())
    usual = USUAL.get(spec.vocabulary)
    guess = f"perhaps {usual}, by the size of its vocabulary" if usual else "not told by the file"
    yield "tokenizer", files.config.tokenizer if files.config else guess
    if any("time_state" in name for name in tensors):
        yield "start", "a tuned start state lies beside the weights"


def _part(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What a file without a whole model is, by the names in it; None for anything else."""
    if not shapes or "emb.weight" in shapes:
        return None
    adapted = {name for name in shapes if any(f".{part}" in name for part in ("lora_A", "lora.0", "disha"))}
    if adapted:
        return f"an adapter (LoRA, PiSSA or DiSHA) for {counted(len(adapted), 'matrix').replace('matrixs', 'matrices')}"
    if all(name.endswith("att.time_state") for name in shapes):
        heads, size = next(iter(shapes.values()))[:2]
        return f"a tuned state for a model of {counted(len(shapes), 'layer')}, {heads} heads of {size}"
    if {"time_shift", "channel_shift", "wkv"} <= set(shapes):
        return f"the state of a piece in a model of {counted(shapes['wkv'][0], 'layer')}"
    return None


def _pull(args: argparse.Namespace) -> None:
    wanted = hub_file(args.model, args.revision)
    if wanted is None:
        raise ModelNotFoundError(
            f"no model '{args.model}' on the hub: name one of `rwkv-music models list`, or owner/repository"
        )
    _say(str(pull(wanted)))


def _convert(args: argparse.Namespace) -> None:
    from rwkv_music.checkpoint.convert import convert_weights
    from rwkv_music.checkpoint.source import CheckpointError

    try:
        convert_weights(find_model(args.model).weights, args.out, args.type, form=args.layout, force=args.force)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    _say(str(args.out))


def _mix(args: argparse.Namespace) -> None:
    from rwkv_music.checkpoint.mix import mix_weights
    from rwkv_music.checkpoint.source import CheckpointError

    shares = [_read_share(model) for model in args.models]
    try:
        sources = [(find_model(name).weights, share) for name, share in shares]
        mix_weights(sources, args.out, args.type, softened=args.soften, force=args.force)
    except CheckpointError as error:
        raise UserError(str(error)) from None
    _say(str(args.out))


def _read_share(text: str) -> tuple[str, float]:
    """A model and its share, of "MODEL" or "MODEL:SHARE"; a path that exists stands for itself."""
    name, colon, share = text.rpartition(":")
    if not colon or Path(text).exists():
        return text, 1.0
    try:
        return name, float(share)
    except ValueError:
        # The colon is the file's own, as behind the letter of a drive.
        return text, 1.0


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _say(text: str) -> None:
    show(text + "\n")
