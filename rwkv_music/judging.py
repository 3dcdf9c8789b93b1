"""How surprising a piece is to a model: bits of every token, by note, by bar and by second."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rwkv_music.engine import Engine
from rwkv_music.manuscripts.manuscript import Manuscript

# Tokens that are read at once, so that memory does not grow with the piece.
PIECE = 512


@dataclass(frozen=True)
class BarBits:
    """One bar of a piece, or two seconds of one without bars."""

    # Counted from 1.
    number: int
    tokens: int
    bits: float
    # Notes that begin in it.
    notes: int


@dataclass(frozen=True)
class Verdict:
    """What a model thinks of a piece."""

    tokens: int
    bits: float
    notes: int
    seconds: float
    bars: tuple[BarBits, ...]

    def plain(self) -> dict[str, Any]:
        """Everything as JSON data, with the rates that models are compared by."""
        return {
            "tokens": self.tokens,
            "bits": round(self.bits, 3),
            "bits_per_token": _rate(self.bits, self.tokens),
            "notes": self.notes,
            "bits_per_note": _rate(self.bits, self.notes),
            "seconds": round(self.seconds, 3),
            "bits_per_second": _rate(self.bits, self.seconds),
            "bars": [
                {
                    "bar": bar.number,
                    "notes": bar.notes,
                    "bits": round(bar.bits, 3),
                    "bits_per_note": _rate(bar.bits, bar.notes),
                }
                for bar in self.bars
            ],
        }


def _rate(bits: float, count: float) -> float | None:
    return round(bits / count, 4) if count else None


def judge(engine: Engine, manuscript: Manuscript) -> Verdict:
    """What the model of an engine thinks of the piece that a manuscript holds; the token that ends it counts."""
    heard = manuscript.heard()
    bits = surprise(engine, [*heard, manuscript.end])
    marks = manuscript.marks()
    played = manuscript.work((), ended=True).performance
    seconds = float(played.seconds(np.array([played.end]))[0])
    bars = []
    for number, (start, stop) in enumerate(zip(marks, [*marks[1:], len(heard)], strict=True), start=1):
        # Token i is judged by bits[i - 1]; the one that ends the piece belongs to no bar.
        bars.append(
            BarBits(number, stop - start, float(bits[start - 1 : stop - 1].sum()), manuscript.notes(heard[start:stop]))
        )
    return Verdict(len(bits), float(bits.sum()), manuscript.notes(heard), seconds, tuple(bars))


def surprise(engine: Engine, ids: Sequence[int]) -> np.ndarray:
    """Bits (n - 1,) float64 of ids (n,), each given those before it; of the first, which begins a piece, nothing."""
    found, state = [], None
    for start in range(0, len(ids) - 1, PIECE):
        heard = ids[start : min(start + PIECE, len(ids) - 1)]
        logits, state = engine.advance(heard, state, all_logits=True)
        odds = torch.log_softmax(logits.double(), dim=-1)
        told = torch.tensor(ids[start + 1 : start + 1 + len(heard)])[:, None]
        found.append(-odds.gather(1, told.to(odds.device))[:, 0].numpy(force=True) / math.log(2))
    return np.concatenate(found) if found else np.zeros(0)
