"""A piece at one moment, kept in one safetensors file, so that going on gives what an unbroken run gives."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rwkv_music.files import write_whole
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State, StateError
from rwkv_music.sampling import SETTINGS, Sampler, SamplingOptions
from rwkv_music.sealed import SealedError, header_of, read_beginning, read_sealed, seal, unseal

FORMAT = "rwkv-music snapshot 1"
THING = "a snapshot (--save-state writes one)"
STATE_NAMES = ("time_shift", "channel_shift", "wkv")
LABEL_FIELDS = {"model", "model_hash", "tokenizer", "options", "generator", "prompt_length", "story"}


class SnapshotError(SealedError):
    """A snapshot that cannot be used: it contradicts itself, or is one of another model."""


@dataclass(frozen=True)
class Label:
    """What a snapshot says about itself in plain data."""

    # The name or path under which the model was opened, and the sha256 of its weights.
    model: str
    model_hash: str
    tokenizer: str
    options: SamplingOptions
    # Numbers the generator of `options.seed` has given.
    draws: int
    # How many of the tokens are the prompt.
    prompt_length: int
    # Whatever else the maker of the piece needs to go on, as plain JSON data.
    story: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A piece at one moment: state and logits (V,) float32 after the last of `tokens`, which begin at the beginning."""

    label: Label
    state: State
    logits: Tensor
    tokens: tuple[int, ...]


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot, whole or not at all. Raises OSError."""
    label = snapshot.label
    sampler = Sampler(label.options, label.draws)
    plain = {name: value for name, value in asdict(label).items() if name != "draws"}
    tensors = {f"state.{name}": tensor for name, tensor in snapshot.state.tensors().items()}
    tensors["logits"] = snapshot.logits.detach().cpu().contiguous()
    tensors["tokens"] = torch.tensor(snapshot.tokens, dtype=torch.int32)
    write_whole(path, seal(FORMAT, {**plain, "options": label.options.plain(), "generator": sampler.state()}, tensors))


def read_label(path: Path) -> Label:
    """What the snapshot in a file says about itself. Raises SealedError, or OSError."""
    return _label(path, header_of(path, read_beginning(path), FORMAT, THING))


def load_snapshot(path: Path, *, spec: Spec, model_hash: str) -> Snapshot:
    """The snapshot in a file, for the model of that spec and hash. Raises SealedError, or OSError."""
    content = read_sealed(path)
    header = header_of(path, content, FORMAT, THING)
    label = _label(path, header)
    if label.model_hash != model_hash:
        raise SnapshotError(
            f"{path} was made by {label.model} (sha256 {label.model_hash[:12]}), "
            f"this model is another one ({model_hash[:12]}): choose that one with --model"
        )
    _check_shapes(path, header, spec)
    tensors = unseal(path, content, header)
    try:
        state = State.from_tensors({name: tensors[f"state.{name}"] for name in STATE_NAMES}, spec)
    except StateError as error:
        raise SnapshotError(f"{path}: {error}") from None
    return _checked(path, Snapshot(label, state, tensors["logits"], tuple(tensors["tokens"].tolist())), spec)


def _label(path: Path, header: Mapping[str, Any]) -> Label:
    try:
        plain = json.loads(header["__metadata__"]["label"])
        if not isinstance(plain, dict) or set(plain) != LABEL_FIELDS:
            raise ValueError(f"it must hold {', '.join(sorted(LABEL_FIELDS))}")
        model, model_hash, tokenizer = (plain[name] for name in ("model", "model_hash", "tokenizer"))
        if not all(isinstance(text, str) for text in (model, model_hash, tokenizer)) or not isinstance(
            plain["story"], dict
        ):
            raise ValueError("model, model_hash and tokenizer must be text, story an object")
        length = plain["prompt_length"]
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise ValueError("prompt_length must be a whole number")
        if not isinstance(plain["options"], dict) or not set(plain["options"]) <= set(SETTINGS):
            raise ValueError(f"unknown settings; there are {', '.join(sorted(SETTINGS))}")
        sampler = Sampler.from_state(SamplingOptions.from_plain(plain["options"]), plain["generator"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnapshotError(f"{path}: the snapshot's label cannot be used: {str(error)[:200]}") from None
    return Label(model, model_hash, tokenizer, sampler.options, sampler.draws, length, plain["story"])


def _check_shapes(path: Path, header: Mapping[str, Any], spec: Spec) -> None:
    """Names, types and shapes are exactly those of the model, before any tensor is made."""
    blank = State.zeros(spec, 1, "meta")
    expected = {f"state.{name}": ("F32", list(getattr(blank, name).shape)) for name in STATE_NAMES}
    expected["logits"] = ("F32", [spec.vocabulary])
    found = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if set(found) != {*expected, "tokens"} or not all(isinstance(entry, dict) for entry in found.values()):
        raise SnapshotError(f"{path}: a snapshot holds exactly {', '.join(expected)} and tokens")
    for name, (dtype, shape) in expected.items():
        if found[name].get("dtype") != dtype or found[name].get("shape") != shape:
            raise SnapshotError(f"{path}: '{name}' must be {dtype} {shape} for this model")
    shape = found["tokens"].get("shape")
    if found["tokens"].get("dtype") != "I32" or not isinstance(shape, list) or len(shape) != 1:
        raise SnapshotError(f"{path}: 'tokens' must be a list of I32")


def _checked(path: Path, snapshot: Snapshot, spec: Spec) -> Snapshot:
    tokens, label = snapshot.tokens, snapshot.label
    if not torch.isfinite(snapshot.logits).all():
        raise SnapshotError(f"{path}: 'logits' holds values that are not finite")
    if not tokens or min(tokens) < 0 or max(tokens) >= spec.vocabulary:
        raise SnapshotError(f"{path}: 'tokens' must lie in 0..{spec.vocabulary - 1}, and there must be some")
    if label.prompt_length > len(tokens):
        raise SnapshotError(f"{path}: the prompt is longer than the piece")
    return snapshot
