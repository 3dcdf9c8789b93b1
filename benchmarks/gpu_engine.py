"""The engine on a GPU: pieces written in a pool, prompts read, steps of training, near to what its memory and products allow."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import roofline
import torch
import torch.nn.functional as F
from gpu_kernels import DTYPES
from roofline import Card, limited, seconds

from rwkv_music.engine import Engine
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music.pool import SlotPool
from rwkv_music.running import choose_runner
from rwkv_music.sampling import Sampler, SamplingOptions
from rwkv_music_kernels.choose import choose_kernels

# Tokens a second of RWKV-7 on an H200, by shape and, where pieces are written, their number.
DECODE_GOALS = {("12x768", 1): 2_500, ("12x768", 512): 200_000, ("12x768", 1024): 200_000}
TRAIN_GOALS = {"12x768": 300_000, "24x1024": 120_000}


def same(options: argparse.Namespace, card: Card) -> Iterator[dict[str, Any]]:
    """Whether a piece is the same tokens and the same bits of state alone and among 64."""
    for version, dtype in product(options.versions, options.dtypes):
        spec, greedy = shaped(version, options.shapes[0], options.vocabulary), SamplingOptions(temperature=0.0)
        engine = engine_of(spec, dtype, options.device)
        found = []
        for firsts in (range(64), range(7, 8)):
            pool = SlotPool(engine, len(firsts))
            slots = [pool.admit(None, first, Sampler(greedy)) for first in firsts]
            mine = slots[firsts.index(7)]
            found.append(([pool.step()[mine] for _ in range(100)], pool.state_of(mine).wkv))
        (tokens, state), (alone, own) = found
        row = {"measure": "same", "version": version, "dtype": dtype, "shape": options.shapes[0]}
        row |= {"same_tokens": tokens == alone, "same_bits": torch.equal(state, own)}
        yield row | {"met": row["same_tokens"] and row["same_bits"]}


def decode(options: argparse.Namespace, card: Card) -> Iterator[dict[str, Any]]:
    """Tokens a second of a pool: the recorded step, the draw, and what the host does between steps."""
    for version, shape, dtype in product(options.versions, options.shapes, options.dtypes):
        spec = shaped(version, shape, options.vocabulary)
        engine = engine_of(spec, dtype, options.device)
        for rows in options.rows or [1 << power for power in range(11)]:
            pool = SlotPool(engine, rows)
            for seed in range(rows):
                pool.admit(None, seed % spec.vocabulary, Sampler(SamplingOptions(seed=seed)))
            took = seconds(pool.step, options.rounds, options.device)
            row = {"measure": "decode", "version": version, "shape": shape, "dtype": dtype, "rows": rows}
            row |= {"tokens_per_s": rows / took, **goal(DECODE_GOALS, version, (shape, rows), rows / took)}
            yield limited(row, took, roofline.decoding(spec, rows, DTYPES[dtype].itemsize), card)


def prefill(options: argparse.Namespace, card: Card) -> Iterator[dict[str, Any]]:
    """Tokens a second of prompts that are read."""
    for version, shape, dtype in product(options.versions, options.shapes, options.dtypes):
        spec = shaped(version, shape, options.vocabulary)
        engine = engine_of(spec, dtype, options.device)
        for rows in options.rows or [1, 8]:
            ids, count = torch.randint(0, spec.vocabulary, (rows, options.tokens)), rows * options.tokens
            took = seconds(lambda engine=engine, ids=ids: engine.advance(ids), options.rounds, options.device)
            row = {"measure": "prefill", "version": version, "shape": shape, "dtype": dtype, "rows": rows}
            row |= {"tokens": options.tokens, "tokens_per_s": count / took}
            yield limited(row, took, roofline.reading(spec, count, DTYPES[dtype].itemsize), card)


def train(options: argparse.Namespace, card: Card) -> Iterator[dict[str, Any]]:
    """Forward, backward and AdamW, products in bfloat16; the share is the utilisation of the matrix units."""
    for version, shape, rows in product(options.versions, options.shapes, options.rows or [16]):
        spec, count = shaped(version, shape, options.vocabulary), rows * options.tokens
        step = training_step(spec, rows, options.tokens, options.device)
        took = seconds(step, options.rounds, options.device)
        row = {"measure": "train", "version": version, "shape": shape, "rows": rows, "tokens": options.tokens}
        row |= {"tokens_per_s": count / took, **goal(TRAIN_GOALS, version, shape, count / took)}
        yield limited(row, took, roofline.training(spec, count), card)


def goal(goals: Mapping[Any, float], version: str, key: object, found: float) -> dict[str, Any]:
    """What RWKV-7 should reach there, and whether it does."""
    if version != "7" or key not in goals:
        return {}
    return {"goal_tokens_per_s": goals[key], "met": found >= goals[key]}


def training_step(spec: Spec, rows: int, tokens: int, device: str) -> Callable[[], None]:
    """A step on random tokens: parameters in float32, no checkpointing."""
    parameters = {name: torch.nn.Parameter(tensor.to(device)) for name, tensor in RandomWeights(spec).items()}
    model = build_model(spec, parameters, choose_kernels(device))
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-5, fused=True)
    ids, targets = torch.randint(0, spec.vocabulary, (2, rows, tokens), device=device)

    def run() -> None:
        with torch.autocast(device, dtype=torch.bfloat16):
            logits, _ = model.forward(ids, State.zeros(spec, rows, device))
        F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def shaped(version: str, shape: str, vocabulary: int) -> Spec:
    """LxC of that version."""
    layers, width = map(int, shape.split("x"))
    return standard_spec(version, layers, width, vocabulary)


def engine_of(spec: Spec, dtype: str, device: str) -> Engine:
    """An engine of random weights."""
    return Engine(spec, choose_runner(spec, RandomWeights(spec), device, dtype), device=device, dtype=dtype)
