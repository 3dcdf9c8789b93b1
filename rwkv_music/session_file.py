"""A session in one file: every take, and the states from which it goes on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rwkv_music.compose import Memory, Piece
from rwkv_music.engine import Engine
from rwkv_music.files import write_whole
from rwkv_music.making import Run
from rwkv_music.manuscripts.choose import check_language, manuscript_of
from rwkv_music.manuscripts.manuscript import Manuscript
from rwkv_music.model.state import State
from rwkv_music.moments import Moment
from rwkv_music.sampling import Sampler, SamplingOptions
from rwkv_music.sealed import SealedError, header_of, read_beginning, read_sealed, seal, unseal
from rwkv_music.session import Session, Take

FORMAT = "rwkv-music session 1"
THING = "a session (`--save-session` and the studio write one)"
# Bytes of states that are written; those of further takes are made again when the session is read.
STATES_BUDGET = 256 << 20
MOST_TAKES = 10_000
MOST_TOKENS = 10_000_000
# Of the numbers that a generator has given.
MOST_DRAWS = 2**63 - 1


def save_session(session: Session, model: str, path: Path) -> None:
    """Write a session, whole or not at all; model: the name or path under which it was opened. Raises OSError."""
    tensors: dict[str, Tensor] = {}
    near = set(session.path())
    room = STATES_BUDGET
    for take in sorted(session.takes, key=lambda take: (take.number not in near, -take.number)):
        memory = take.piece.memory
        own = {f"{take.number}.{name}": x for name, x in memory.state.tensors().items()}
        own[f"{take.number}.logits"] = memory.logits.detach().cpu().contiguous()
        room -= sum(x.nbytes for x in own.values())
        if room >= 0 or take.number == 0:
            tensors |= own
    for take in session.takes:
        tensors[f"{take.number}.tokens"] = torch.tensor(take.piece.made[take.after :], dtype=torch.int32)
    tensors["prompt"] = torch.tensor(session.takes[0].piece.memory.tokens, dtype=torch.int32)
    label = {
        "model": model,
        "model_hash": session.engine.hash,
        "tokenizer": session.manuscript.language,
        "manuscript": dict(session.manuscript.plain()),
        "current": session.current,
        "takes": [_plain(take) for take in session.takes],
    }
    write_whole(path, seal(FORMAT, label, tensors))


def _plain(take: Take) -> dict[str, Any]:
    piece = take.piece
    return {
        "parent": take.parent,
        "after": take.after,
        "ended": piece.ended,
        "stretches": [{**run.plain(), "after": at} for at, run in piece.stretches],
        "draws": piece.sampler.draws,
        "options": piece.sampler.options.plain(),
        "first": piece.first.plain(),
        "moments": [[moment.length, moment.draws, moment.options.plain()] for moment in piece.moments],
    }


def load_session(path: Path, engine: Engine) -> Session:
    """The session in a file. Raises SealedError for another model and for what contradicts itself, or OSError."""
    content = read_sealed(path)
    header = header_of(path, content, FORMAT, THING)
    try:
        label = json.loads(header["__metadata__"]["label"])
        hash_of_model = str(label["model_hash"])
        if hash_of_model != engine.hash:
            raise SealedError(
                f"{path} was made by {label['model']} (sha256 {hash_of_model[:12]}), "
                f"this model is another one ({engine.hash[:12]}): choose that one with --model"
            )
        manuscript = manuscript_of(label["tokenizer"], label["manuscript"])
        check_language(engine, manuscript.language)
        return _session(label, manuscript, engine, unseal(path, content, header))
    except SealedError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SealedError(f"{path}: the session cannot be used: {str(error)[:200]}") from None


def read_model(path: Path) -> str:
    """The name or path of the model that a session was made with. Raises SealedError, or OSError."""
    header = header_of(path, read_beginning(path), FORMAT, THING)
    try:
        return str(json.loads(header["__metadata__"]["label"])["model"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SealedError(f"{path}: the session does not say which model made it") from None


def told(path: Path) -> dict[str, Any]:
    """What a session's file says about itself, for people. Raises SealedError, or OSError."""
    header = header_of(path, read_beginning(path), FORMAT, THING)
    try:
        label = json.loads(header["__metadata__"]["label"])
        sizes = {name.removesuffix(".tokens"): entry["shape"][0] for name, entry in header.items() if "tokens" in name}
        return {
            "kind": "session",
            "model": label["model"],
            "model sha256": label["model_hash"],
            "tokenizer": label["tokenizer"],
            "prompt tokens": header["prompt"]["shape"][0],
            "current take": label["current"],
            **{
                f"take {number}": f"from take {take['parent']} after {take['after']} tokens, {sizes[str(number)]} more, "
                f"seed {take['options']['seed']}, {len(take['moments'])} bar lines"
                + ", ended"
                * (take["ended"] is True)
                for number, take in enumerate(label["takes"])
                if number
            },
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise SealedError(f"{path}: the session's label cannot be read") from None


def _session(
    label: Mapping[str, Any], manuscript: Manuscript, engine: Engine, tensors: Mapping[str, Tensor]
) -> Session:
    plains = label["takes"]
    if not isinstance(plains, list) or not 0 < len(plains) <= MOST_TAKES:
        raise ValueError(f"a session holds 1 to {MOST_TAKES} takes")
    prompt = _tokens(tensors["prompt"], engine)
    if tuple(prompt) != manuscript.heard():
        raise ValueError("the prompt is not what the manuscript says")
    takes: list[Take] = []
    for number, plain in enumerate(plains):
        parent, after = plain["parent"], _whole(plain["after"], MOST_TOKENS)
        if (parent is None) != (number == 0) or (parent is not None and not 0 <= _whole(parent, MOST_TAKES) < number):
            raise ValueError(f"take {number} goes on from no take before it")
        before = [] if parent is None else takes[parent].piece.made[:after]
        if len(before) != after:
            raise ValueError(f"take {number} goes on from beyond the end of take {parent}")
        tokens = [*prompt, *before, *_tokens(tensors[f"{number}.tokens"], engine)]
        memory = Memory(tuple(tokens), *_remembered(number, tensors, tokens, engine), plain["ended"] is True)
        takes.append(Take(number, parent, after, _piece(plain, manuscript, engine, memory, len(prompt))))
    return Session.of_takes(takes, _whole(label["current"], len(takes) - 1))


def _piece(
    plain: Mapping[str, Any], manuscript: Manuscript, engine: Engine, memory: Memory, prompt_length: int
) -> Piece:
    stretches = [(_whole(run["after"], MOST_TOKENS), Run.from_plain(run)) for run in plain["stretches"]]
    options = SamplingOptions.from_plain(plain["options"])
    sampler = Sampler(options, _whole(plain["draws"], MOST_DRAWS), manuscript.weights)
    for token in memory.tokens[prompt_length:]:
        sampler.follow(token)
    piece = Piece(engine, manuscript, memory, prompt_length, sampler, stretches)
    piece.first = SamplingOptions.from_plain(plain["first"])
    for length, draws, options in plain["moments"]:
        if not prompt_length <= _whole(length, MOST_TOKENS) <= len(memory.tokens):
            raise ValueError(f"a bar line at token {length} of {len(memory.tokens)}")
        piece.moments.add(Moment(length, SamplingOptions.from_plain(options), _whole(draws, MOST_DRAWS), None, None))
    return piece


def _remembered(
    number: int, tensors: Mapping[str, Tensor], tokens: Sequence[int], engine: Engine
) -> tuple[State, Tensor]:
    """State and logits of a take: as written, or made again from its tokens."""
    if f"{number}.logits" not in tensors:
        logits, state = engine.advance(tokens)
        return state, logits
    logits = tensors[f"{number}.logits"]
    if logits.shape != (engine.spec.vocabulary,) or not torch.isfinite(logits).all():
        raise ValueError(f"the logits of take {number} are none of this model")
    names = [field.name for field in fields(State)]
    state = State.from_tensors({name: tensors[f"{number}.{name}"] for name in names}, engine.spec)
    if state.batch != 1:
        raise ValueError(f"the state of take {number} is that of {state.batch} pieces")
    return state, logits


def _tokens(tensor: Tensor, engine: Engine) -> list[int]:
    if tensor.dim() != 1 or tensor.dtype != torch.int32:
        raise ValueError("tokens are a list of int32")
    tokens = tensor.tolist()
    if tokens and not (min(tokens) >= 0 and max(tokens) < engine.spec.vocabulary):
        raise ValueError(f"tokens must lie in 0..{engine.spec.vocabulary - 1}")
    return tokens


def _whole(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"a whole number from 0 to {most} was expected, not {value!r:.40}")
    return value
