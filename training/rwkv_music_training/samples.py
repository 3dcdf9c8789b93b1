"""Tunes and other documents that a model writes by itself, many at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from rwkv_music.model.state import State
from rwkv_music.model.versions import Model
from rwkv_music_tokenizers.abc_tokens import decode, encode
from rwkv_music_tokenizers.grammar import Grammar
from rwkv_music_training.corpus.tunes import BEGIN, END
from rwkv_music_training.judging.writing import draw


@torch.no_grad()
def sample_ids(
    model: Model,
    count: int,
    opening: Sequence[int],
    end: int,
    *,
    temperature: float = 0.9,
    top_p: float = 0.95,
    seed: int = 1,
    max_length: int = 2048,
    grammar: Grammar | None = None,
) -> list[list[int]]:
    """`count` documents after the same opening ids, each up to `end` (left out) or `max_length` more ids.

    With a grammar that has followed the opening only what it allows is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    logits, state = model.forward(torch.tensor(opening).expand(count, -1), State.zeros(model.spec, count))
    written: list[list[int]] = [[] for _ in range(count)]
    alive = list(range(count))
    grammars = [grammar.clone() for _ in range(count)] if grammar else []
    for _ in range(max_length):
        scores = logits[:, -1]
        if grammars:
            allowed = np.stack([grammars[row].allowed() for row in alive])
            scores = scores.masked_fill(~torch.from_numpy(allowed), -torch.inf)
        drawn = draw(scores, temperature, top_p, generator)
        going = [row for row, token in enumerate(drawn.tolist()) if token != end]
        for row in going:
            written[alive[row]].append(int(drawn[row]))
            if grammars:
                grammars[alive[row]].follow(int(drawn[row]))
        if not going:
            break
        if len(going) < len(alive):
            alive = [alive[row] for row in going]
            state, drawn = state.pick(going), drawn[going]
        logits, state = model.forward(drawn[:, None], state)
    return written


def sample_tunes(model: Model, count: int, opening: str = "", *, seed: int = 1, max_length: int = 2048) -> list[str]:
    """`count` tunes that begin with `opening`, each up to its end token or `max_length` characters."""
    ids = [BEGIN, *encode(opening)]
    written = sample_ids(model, count, ids, END, seed=seed, max_length=max_length - len(opening))
    return [opening + decode(tokens) for tokens in written]


def sample_groups(
    model: Model,
    count: int,
    opening: Sequence[int],
    end: int,
    *,
    temperature: float = 0.9,
    top_p: float = 0.95,
    seed: int,
    max_length: int,
    grammar: Grammar | None = None,
    rows: int = 25,
) -> list[list[int]]:
    """`count` documents as `sample_ids` gives them, `rows` at a time.

    Every group draws from its own generator, on one of torch's threads, so the number of cores changes nothing.
    """
    starts = range(0, count, rows)

    def group(start: int) -> list[list[int]]:
        return sample_ids(
            model,
            min(rows, count - start),
            opening,
            end,
            temperature=temperature,
            top_p=top_p,
            seed=1000 * seed + start // rows,
            max_length=max_length,
            grammar=grammar,
        )

    workers = min(len(starts), os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return [ids for some in pool.map(group, starts) for ids in some]


def sample_many(model: Model, count: int, *, rows: int = 25, seed: int = 1, max_length: int = 2500) -> list[str]:
    """`count` tunes from nothing at temperature 0.9 and top-p 0.95."""
    written = sample_groups(model, count, [BEGIN], END, seed=seed, max_length=max_length, rows=rows)
    return [decode(ids) for ids in written]


def tunebook(tunes: Sequence[str], titles: Sequence[str]) -> str:
    """Sampled tunes as one ABC file, with X: and T: lines in front of each."""
    parts = []
    for number, (tune, title) in enumerate(zip(tunes, titles, strict=True), start=1):
        parts.append(f"X:{number}\nT:{title}\n{tune.rstrip()}\n")
    return "\n".join(parts)
