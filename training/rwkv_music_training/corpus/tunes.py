"""Tunes on disk, and the documents of ids that a model learns from."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard

from rwkv_music_tokenizers.abc_tokens import encode, training_text

BEGIN = 2
END = 3


class CorpusError(ValueError):
    """A corpus file that cannot be read; the message names the file, the line and the rule."""


@dataclass(frozen=True)
class Tune:
    """One tune: `text` is ABC without the X: and T: lines, as the model sees it."""

    id: str
    source: str
    tier: str
    text: str

    @property
    def body_start(self) -> int:
        """Where the music begins: the place after the line of the first K: field."""
        at = 0 if self.text.startswith("K:") else self.text.find("\nK:") + 1
        end = self.text.find("\n", at)
        return end + 1 if self.text.startswith("K:", at) and end >= 0 else 0


def read_tunes(path: Path, tiers: Sequence[str] = ("A",)) -> list[Tune]:
    """Read the tunes of some tiers from a .jsonl.zst file, in its order. Raises CorpusError."""
    tunes = []
    try:
        with zstandard.open(path, "rb") as packed:
            for number, line in enumerate(io.TextIOWrapper(packed, encoding="utf-8"), start=1):
                tune = _tune(line, f"{path}, line {number}")
                if tune.tier in tiers:
                    tunes.append(tune)
    except (OSError, UnicodeDecodeError, zstandard.ZstdError) as error:
        raise CorpusError(f"{path}: cannot be read ({error})") from error
    if not tunes:
        raise CorpusError(f"{path}: no tune of tier {', '.join(tiers)}")
    return tunes


def _tune(line: str, place: str) -> Tune:
    try:
        row = json.loads(line)
        told = [row[name] for name in ("id", "source", "tier", "abc")]
    except (ValueError, KeyError, TypeError, RecursionError):
        told = []
    if not told or not all(isinstance(value, str) for value in told):
        raise CorpusError(f"{place}: every line must be an object with the texts id, source, tier and abc")
    return Tune(told[0], told[1], told[2], training_text(told[3]))


def document(text: str, max_length: int | None = None) -> np.ndarray:
    """The ids of one tune between begin and end, uint8; cut to `max_length` ids when longer."""
    ids = np.asarray([BEGIN, *encode(text), END], dtype=np.uint8)
    return ids[:max_length]
