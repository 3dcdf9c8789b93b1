"""What tells pieces apart, from bytes to melody: three digests for the same piece, shingles and bands for nearly the same.

A rung above forgets more: the bytes; the notes (loudness, tempo and instruments forgotten); their shape (key, note values
and lengths forgotten); and of the melody the set of its runs of eight intervals, of which two near pieces share most.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rwkv_music_training.corpus.sounding import DRUM, Sounding

DIGEST_BYTES = 16
# Intervals in a shingle, and how far an interval counts.
RUN, WIDEST = 8, 24
# A melody note is hidden by a higher one that sounds on; so many onsets back are looked at.
LOOK_BACK = 8
# Minima of a signature: pieces whose signatures agree in a whole band are compared. Of pieces with a Jaccard index of 0.7,
# all but (1 - 0.7^4)^64 = 2e-8 agree in one; of those with 0.2 a tenth does (Leskovec et al., Mining of Massive Datasets, 3.4).
BANDS, ROWS = 64, 4
SEED = 20260


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Of one piece."""

    # DIGEST_BYTES each.
    content: bytes
    notes: bytes
    shape: bytes
    # (m,) uint32, rising: the runs of its melody.
    shingles: np.ndarray


def fingerprints(content: bytes, sounding: Sounding) -> Fingerprints:
    """The fingerprints of a piece with at least one note."""
    return Fingerprints(_digest(content), _digest(*_notes(sounding)), _digest(*_shape(sounding)), shingles(sounding))


def _digest(*parts: bytes) -> bytes:
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        hashed.update(part)
    return hashed.digest()


def _notes(sounding: Sounding) -> tuple[bytes, ...]:
    first = sounding.starts[0]
    table = np.stack([sounding.starts - first, sounding.pitches, sounding.ends - first], axis=1)
    return (np.unique(table, axis=0).astype("<i8").tobytes(),)


def _shape(sounding: Sounding) -> tuple[bytes, ...]:
    """Onsets in their greatest common measure, and pitches above the lowest; strokes on drums as they are."""
    starts = sounding.starts - sounding.starts[0]
    measure = max(1, int(np.gcd.reduce(starts)))
    lowest = sounding.pitches.min() if sounding.pitched.any() else 0
    heights = np.where(sounding.pitched, sounding.pitches - lowest, sounding.pitches)
    table = np.unique(np.stack([starts // measure, heights], axis=1), axis=0)
    return (table.astype("<i8").tobytes(),)


def melody(sounding: Sounding) -> np.ndarray:
    """The pitches (m,) of the top line: at each onset the highest note, unless a higher one sounds on.

    Of music for drums alone, the lowest drum at each onset.
    """
    drums = not sounding.pitched.any()
    chosen = slice(None) if drums else sounding.pitched
    starts, ends, pitches = sounding.starts[chosen], sounding.ends[chosen], sounding.pitches[chosen]
    last = np.append(starts[1:] != starts[:-1], True)
    if drums:
        return pitches[np.append(True, last[:-1])]
    starts, ends, pitches = starts[last], ends[last], pitches[last]
    hidden = np.zeros(len(starts), dtype=bool)
    for back in range(1, min(LOOK_BACK, len(starts) - 1) + 1):
        hidden[back:] |= (ends[:-back] > starts[back:]) & (pitches[:-back] > pitches[back:])
    return pitches[~hidden]


def shingles(sounding: Sounding) -> np.ndarray:
    """The runs of RUN intervals of the melody, hashed: (m,) uint32, rising, each once; at least one."""
    line = melody(sounding)
    steps = line[1:] if line[0] >= DRUM else np.clip(np.diff(line), -WIDEST, WIDEST)
    if len(steps) < RUN:
        steps = np.concatenate([steps, np.full(RUN - len(steps), 2 * WIDEST)])
    runs = np.lib.stride_tricks.sliding_window_view(steps.astype(np.uint64), RUN)
    with np.errstate(over="ignore"):
        hashed = (runs * _FACTORS).sum(axis=1, dtype=np.uint64)
        hashed = (hashed ^ (hashed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return np.unique((hashed >> np.uint64(32)).astype("<u4"))


_FACTORS = np.random.default_rng(SEED).integers(1, 1 << 63, RUN, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def bands(sets: Sequence[np.ndarray]) -> np.ndarray:
    """The bands of sets of shingles, hashed: (sets, BANDS) uint64."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]: compiled, without types

    if not sets:
        return np.zeros((0, BANDS), dtype="<u8")
    flat = np.concatenate(sets).astype(np.uint64)
    bounds = np.cumsum([0, *map(len, sets)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, bounds, BANDS * ROWS, SEED)
    minima = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(sets), BANDS, ROWS)
    with np.errstate(over="ignore"):
        hashed = (minima * _FACTORS[:ROWS]).sum(axis=2, dtype=np.uint64)
        return (hashed ^ (hashed >> np.uint64(29))).astype("<u8")


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """What share of the shingles of two sets, each rising, is in both."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
