"""Whatever gives odds to the next id: models of any version, and n-grams, asked in the same way."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rwkv_music.engine import Engine
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model
from rwkv_music_training.judging.ngrams import ROWS, NgramModel

# Ids of one pass through a model, all rows together, and of one row: longer documents go on with the state.
TOKENS, PIECE = 8192, 1024


@dataclass(frozen=True, eq=False)
class Guess:
    """How well the ids of a document were foreseen, its first id, which is given, left out."""

    # (n - 1,) float64: what each id cost.
    bits: np.ndarray
    # (n - 1,) bool: where it was the likeliest of all.
    hits: np.ndarray


class Predictor(Protocol):
    """Odds for the next id."""

    @property
    def vocabulary(self) -> int: ...

    def read(self, documents: Sequence[np.ndarray]) -> list[Guess]:
        """How well each document (n,) of ids, n >= 2, is foreseen from a fresh state."""
        ...

    def begin(self, opening: Sequence[int], rows: int) -> tuple[Tensor, Any]:
        """Logits (B, V) of what follows the same opening in every row, and the memory to go on from."""
        ...

    def follow(self, ids: Tensor, memory: Any, kept: Sequence[int]) -> tuple[Tensor, Any]:
        """The same after one more id (B,) in each of the `kept` rows (B of them) of the memory."""
        ...


class _Network(ABC):
    """What engines and models in training share."""

    vocabulary: int

    @abstractmethod
    def _advance(self, ids: Tensor, state: State | None) -> tuple[Tensor, State]:
        """ids: (B, T). Logits (B, T, V) and the new state."""

    def read(self, documents: Sequence[np.ndarray]) -> list[Guess]:
        """See `Predictor.read`."""
        found: list[Guess | None] = [None] * len(documents)
        for group in by_length([len(ids) for ids in documents], TOKENS):
            for place, guess in zip(group, self._read([documents[place] for place in group]), strict=True):
                found[place] = guess
        return [guess for guess in found if guess is not None]

    def _read(self, documents: Sequence[np.ndarray]) -> list[Guess]:
        """Documents side by side, padded at their ends."""
        ids = torch.zeros(len(documents), max(map(len, documents)), dtype=torch.int64)
        for row, document in enumerate(documents):
            ids[row, : len(document)] = torch.from_numpy(np.asarray(document, dtype=np.int64))
        bits, hits, state = [], [], None
        for start in range(0, ids.shape[1] - 1, PIECE):
            heard = ids[:, start : start + PIECE + 1]
            logits, state = self._advance(heard[:, :-1], state)
            told = heard[:, 1:].to(logits.device)
            odds = torch.log_softmax(logits.double(), dim=-1)
            bits.append((-odds.gather(2, told[..., None])[..., 0] / math.log(2)).numpy(force=True))
            hits.append((odds.argmax(dim=-1) == told).numpy(force=True))
        cost, right = np.concatenate(bits, axis=1), np.concatenate(hits, axis=1)
        return [
            Guess(cost[row, : len(document) - 1], right[row, : len(document) - 1])
            for row, document in enumerate(documents)
        ]

    def begin(self, opening: Sequence[int], rows: int) -> tuple[Tensor, State]:
        """See `Predictor.begin`."""
        logits, state = self._advance(torch.tensor([list(opening)]), None)
        return logits[:, -1].expand(rows, -1), state.pick([0] * rows)

    def follow(self, ids: Tensor, memory: State, kept: Sequence[int]) -> tuple[Tensor, State]:
        """See `Predictor.follow`."""
        state = memory if len(kept) == memory.batch else memory.pick(list(kept))
        logits, state = self._advance(ids[:, None], state)
        return logits[:, -1], state


class EnginePredictor(_Network):
    """A finished model at work."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self.vocabulary = engine.spec.vocabulary

    def _advance(self, ids: Tensor, state: State | None) -> tuple[Tensor, State]:
        return self._engine.advance(ids, state, all_logits=True)


class ModelPredictor(_Network):
    """A model that may still be learning."""

    def __init__(self, model: Model, start: State | None = None):
        """start: what one piece begins with, where that is not nothing."""
        self._model, self._start = model, start
        self.vocabulary = model.spec.vocabulary

    def _advance(self, ids: Tensor, state: State | None) -> tuple[Tensor, State]:
        with torch.no_grad():
            logits, state = self._model.forward(ids, self._beginning(len(ids)) if state is None else state)
        return logits.float(), state

    def _beginning(self, rows: int) -> State:
        if self._start is None:
            return State.zeros(self._model.spec, rows)
        return self._start.pick([0] * rows)


class NgramPredictor:
    """N-grams; its memory is the ids so far, as far back as they count."""

    def __init__(self, model: NgramModel):
        self._model = model
        self.vocabulary = model.vocabulary

    def read(self, documents: Sequence[np.ndarray]) -> list[Guess]:
        """See `Predictor.read`."""
        return [self._guess(np.asarray(ids, dtype=np.int64)) for ids in documents]

    def _guess(self, ids: np.ndarray) -> Guess:
        likeliest = []
        back = self._model.order - 1
        for start in range(1, len(ids), ROWS):
            first = max(0, start - back - 1)
            some = self._model.distributions(ids[first : start + ROWS])
            # In a later stretch the first rows only serve as what stands before.
            likeliest.append(some[start - first - 1 :].argmax(axis=1))
        return Guess(-np.log2(self._model.probabilities(ids)), np.concatenate(likeliest) == ids[1:])

    def begin(self, opening: Sequence[int], rows: int) -> tuple[Tensor, np.ndarray]:
        """See `Predictor.begin`."""
        memory = np.tile(np.array(opening, dtype=np.int64), (rows, 1))
        return self._logits(memory), memory

    def follow(self, ids: Tensor, memory: np.ndarray, kept: Sequence[int]) -> tuple[Tensor, np.ndarray]:
        """See `Predictor.follow`."""
        longer = np.concatenate([memory[list(kept)], ids.numpy()[:, None]], axis=1)
        memory = longer[:, -max(1, self._model.order - 1) :]
        return self._logits(memory), memory

    def _logits(self, memory: np.ndarray) -> Tensor:
        return torch.from_numpy(np.log(self._model.following(memory))).float()


def by_length(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Groups of indices of like length, longest first, each within `tokens` when padded (or a single one)."""
    groups: list[list[int]] = []
    for index in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
