"""Which token comes next, as a formula in numpy: what the native draw is held to, and what draws where there is none.

The filters work in float64 and leave what they are given alone.
"""

import math

import numpy as np


def draw(
    logits: np.ndarray,
    counts: np.ndarray,
    biased: np.ndarray,
    biases: np.ndarray,
    settings: np.ndarray,
    top_k: int,
    top_p_first: bool,
    uniform: float,
) -> int:
    """See `rwkv_music_kernels.cpu.draw.draw`, which takes the same and memory to work in."""
    penalty, temperature, top_p, min_p, repetition, most = settings.tolist()
    logits = adjust(repeated(logits, counts, repetition, most), counts, penalty, biased, biases)
    if not math.isfinite(logits.max()):
        return -1
    if temperature == 0:
        return int(logits.argmax())
    cut = keep_top_k(keep_top_p(logits, top_p), top_k) if top_p_first else keep_top_p(keep_top_k(logits, top_k), top_p)
    return pick(temper(keep_min_p(cut, min_p), temperature), uniform)


def repeated(logits: np.ndarray, counts: np.ndarray, repetition: float, most: float) -> np.ndarray:
    """`logits` (V,) in float64, times r where below 0 and by r elsewhere: `repetition` to the count (C,), `most` at most.

    A repetition of 1 leaves them as they are. Source: CTRL, arXiv 1909.05858, 4.1, with counts in place of 0 and 1.
    """
    changed = logits.astype(np.float64)
    factors = np.minimum(repetition**counts, most)
    known = changed[: counts.size]
    changed[: counts.size] = np.where(known < 0, known * factors, known / factors)
    return changed


def adjust(
    logits: np.ndarray, counts: np.ndarray, penalty: float, biased: np.ndarray, biases: np.ndarray
) -> np.ndarray:
    """`logits` (V,) in float64, less `penalty` for every count (C,), C <= V, and with `biases` (M,) on tokens (M,)."""
    adjusted = logits.astype(np.float64)
    adjusted[: counts.size] -= penalty * counts
    np.add.at(adjusted, biased, biases)
    return adjusted


def keep_top_k(logits: np.ndarray, count: int) -> np.ndarray:
    """The `count` highest of `logits` (V,), the rest -inf; of equals the lower ids stay. 0 keeps all."""
    if count <= 0 or count >= logits.size:
        return logits
    return _keep(logits, (-logits).argsort(kind="stable")[:count])


def keep_top_p(logits: np.ndarray, share: float) -> np.ndarray:
    """The fewest highest of `logits` (V,) that together hold `share` of the probability, the rest -inf."""
    if share >= 1:
        return logits
    order = (-logits).argsort(kind="stable")
    held = _weights(logits[order]).cumsum()
    return _keep(logits, order[: held.searchsorted(share * held[-1]) + 1])


def keep_min_p(logits: np.ndarray, share: float) -> np.ndarray:
    """`logits` (V,) without the tokens whose probability is below `share` of the highest one's."""
    if share <= 0:
        return logits
    return np.where(logits >= logits.max() + math.log(share), logits, -math.inf)


def temper(logits: np.ndarray, temperature: float) -> np.ndarray:
    """`logits` (V,) relative to the highest one, divided by a temperature above 0."""
    with np.errstate(over="ignore"):
        return (logits - logits.max()) / temperature


def _keep(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    kept = np.full(logits.shape, -math.inf)
    kept[ids] = logits[ids]
    return kept


def _weights(logits: np.ndarray) -> np.ndarray:
    """Probabilities of `logits` (V,) up to a common factor, in float64."""
    return np.exp(logits - logits.max(), dtype=np.float64)


def pick(logits: np.ndarray, uniform: float) -> int:
    """The token at `uniform` (0 <= uniform < 1) when the tokens of `logits` (V,) lie in a row by probability."""
    held = _weights(logits).cumsum()
    # Rounding may lift the product to the total itself, which no token lies beyond.
    spot = min(uniform * held[-1], math.nextafter(held[-1], 0.0))
    return int(held.searchsorted(spot, side="right"))
