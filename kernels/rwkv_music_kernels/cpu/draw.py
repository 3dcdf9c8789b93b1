"""One token drawn from logits: penalties, cuts, temperature and the draw, without a full sort.

Every cut keeps the highest tokens, of equals the lower ids, so a cut is one threshold: a token that is still kept.
It is found by depths below the highest logit: passes over everything halve the range that must hold it, until few
tokens are left in the range, and only these are sorted. Tokens that are kept lie in front of `x`, `w` and `ids`: their
logits, their weights (probabilities up to a common factor) and who they are, in the order of their ids.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

# Tokens in the range of a threshold that are sorted, not halved any more; and the most often that it is halved.
_FEW = 32
_HALVINGS = 60
# What may be kept is brought together where it is one in _THIN or less; runs of _BLOCK without any are skipped.
_THIN, _BLOCK = 4, 32
# What lies deeper than this is no more told apart before it must be.
_DEEPEST = 512.0

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Adding it leaves no bits for a fraction, so a whole number stays in the lowest bits.
_SHIFTER = 1.5 * 2.0**52
_TAYLOR = tuple(1 / math.factorial(power) for power in range(14))


def _compiled(function: Callable) -> Callable[..., Any]:
    return njit(nogil=True, cache=True)(function)


def _vectorised(function: Callable) -> Callable[..., Any]:
    """Sums may go lane by lane, which costs the order of the terms and nothing else."""
    return njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")(function)


class Draw:
    """`draw` with memory of its own, for one caller at a time."""

    def __init__(self) -> None:
        self._room = _room(0)

    def __call__(
        self,
        logits: np.ndarray,
        counts: np.ndarray,
        biased: np.ndarray,
        biases: np.ndarray,
        settings: np.ndarray,
        top_k: int,
        top_p_first: bool,
        uniform: float,
    ) -> int:
        """See `draw`; logits of any dtype and layout."""
        logits = np.ascontiguousarray(logits, np.float32)
        if self._room[0].size != logits.size:
            self._room = _room(logits.size)
        return draw(logits, counts, biased, biases, settings, top_k, top_p_first, uniform, *self._room)


def _room(vocabulary: int) -> tuple[np.ndarray, ...]:
    return (*(np.empty(vocabulary) for _ in range(2)), *(np.empty(vocabulary, np.int32) for _ in range(2)))


@_compiled
def draw(logits, counts, biased, biases, settings, top_k, top_p_first, uniform, x, w, ids, places):
    """The token at `uniform`, or -1 where nothing may be chosen or the logits are not numbers.

    logits: (V,) float32, -inf where a token is forbidden. counts: (V,) or (0,) float64, how often each token came.
    biased, biases: (M,) int64 and float64, tokens and what their logits get. settings: penalty, temperature, top_p,
    min_p, repetition and the most that it comes to, float64. x, w: (V,) float64, ids, places: (V,) int32, memory to
    work in.
    """
    penalty, temperature, top_p, min_p = settings[0], settings[1], settings[2], settings[3]
    count = logits.size
    _adjust(logits, counts, penalty, settings[4], settings[5], biased, biases, x, ids)
    top = _highest(x)
    if not math.isfinite(top):
        return -1
    if temperature == 0.0:
        for token in range(count):
            if x[token] == top:
                return token
    total = -1.0
    if top_p < 1.0 and top_p_first:
        total = _weigh(x, count, top, 1.0, w)
    if 0 < top_k < count:
        count = _cut(x, w, ids, places, x, count, top, float(top_k), False)
    if top_p < 1.0:
        if total < 0.0:
            total = _weigh(x, count, top, 1.0, w)
        count = _cut(x, w, ids, places, w, count, top, top_p * total, True)
    if min_p > 0.0:
        count = _gather_above(x, w, ids, count, x, top + math.log(min_p))
    return ids[_pick(w, count, _weigh(x, count, top, temperature, w), uniform)]


@_vectorised
def _adjust(logits, counts, penalty, repetition, most, biased, biases, x, ids):
    for token in range(logits.size):
        x[token] = logits[token]
        ids[token] = token
    if repetition != 1.0:
        for token in range(counts.size):
            if counts[token] != 0.0:
                factor = min(repetition ** counts[token], most)
                x[token] = x[token] * factor if x[token] < 0.0 else x[token] / factor
    for token in range(counts.size):
        x[token] -= penalty * counts[token]
    for n in range(biased.size):
        x[biased[n]] += biases[n]


@_compiled
def _highest(x):
    """The greatest of x; NaN where one is NaN. Bits of floats, seen as whole numbers, keep their order."""
    greatest, least = np.int64(-(2**63)), np.int64(2**63 - 1)
    for n in range(x.size):
        bits = np.float64(x[n]).view(np.int64)
        key = bits ^ ((bits >> 63) & np.int64(2**63 - 1))
        greatest, least = max(greatest, key), min(least, key)
    # Keys of NaN lie beyond those of both infinities.
    infinite = np.int64(0x7FF << 52)
    if greatest > infinite or least < ~infinite:
        return math.nan
    return np.int64(greatest ^ ((greatest >> 63) & np.int64(2**63 - 1))).view(np.float64)


@_compiled
def _weigh(x, count, top, temperature, w):
    """w = e^((x - top) / temperature) of what is kept; returns their sum."""
    _exponentials(x, count, top, temperature, w)
    return _mass(w, count, 0.0)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _exponentials(x, count, top, temperature, w):
    if temperature == 1.0:
        for n in range(count):
            w[n] = _exp(x[n] - top)
    else:
        for n in range(count):
            w[n] = _exp((x[n] - top) / temperature)


@njit(inline="always")
def _exp(x):
    """e^x for x <= 0, 0 below the smallest normal number: x = n ln 2 + rest, e^rest is its Taylor sum."""
    held = x if x > -708.0 else -708.0
    shifted = held * (1.0 / math.log(2.0)) + _SHIFTER
    whole = shifted - _SHIFTER
    rest = (held - whole * _LN2_HIGH) - whole * _LN2_LOW
    # Even and odd powers apart, for the machine adds up both at once.
    square = rest * rest
    even, odd = _TAYLOR[12], _TAYLOR[13]
    even, odd = even * square + _TAYLOR[10], odd * square + _TAYLOR[11]
    even, odd = even * square + _TAYLOR[8], odd * square + _TAYLOR[9]
    even, odd = even * square + _TAYLOR[6], odd * square + _TAYLOR[7]
    even, odd = even * square + _TAYLOR[4], odd * square + _TAYLOR[5]
    even, odd = even * square + _TAYLOR[2], odd * square + _TAYLOR[3]
    even, odd = even * square + _TAYLOR[0], odd * square + _TAYLOR[1]
    result = odd * rest + even
    exponent = np.int64((np.float64(shifted).view(np.int64) << 52) + (np.int64(1023) << 52))
    power = exponent.view(np.float64)
    return result * power if x >= -708.0 else 0.0


@_compiled
def _cut(x, w, ids, places, amounts, count, top, goal, by_mass):
    """Keep the fewest of the highest whose number or weight (amounts: x or w) reaches `goal`; returns how many."""
    # Above `sure` all are kept and the goal is not reached, above `depth` it is.
    sure, sure_number, sure_amount, depth = 0.0, 0, 0.0, 2.0
    while True:
        floor = _floor(top, depth, by_mass)
        amount = _amount(amounts, count, floor, by_mass)
        if amount >= goal:
            break
        if depth == math.inf:
            return count
        sure, sure_amount = depth, amount
        depth = 2 * depth if depth < _DEEPEST else math.inf
    number = _number(amounts, count, floor)
    if sure > 0.0:
        sure_number = _number(amounts, count, _floor(top, sure, by_mass))
    for _ in range(_HALVINGS):
        if _THIN * number <= count:
            count = _gather_above(x, w, ids, count, amounts, _floor(top, depth, by_mass))
        if number - sure_number <= _FEW:
            break
        middle = (sure + depth) / 2 if depth < math.inf else 2 * sure
        floor = _floor(top, middle, by_mass)
        amount = _amount(amounts, count, floor, by_mass)
        if amount >= goal:
            depth, number = middle, _number(amounts, count, floor) if by_mass else int(amount)
        else:
            sure, sure_amount = middle, amount
            sure_number = _number(amounts, count, floor) if by_mass else int(amount)
    ceiling = _floor(top, sure, by_mass) if sure_number else math.inf
    waiting = _sort_between(x, count, amounts, _floor(top, depth, by_mass), ceiling, places)
    last = _enough(w, places, waiting, goal - sure_amount, by_mass)
    return _gather_up_to(x, w, ids, count, places[last])


@_compiled
def _floor(top, depth, by_mass):
    return math.exp(-depth) if by_mass else top - depth


@_compiled
def _amount(amounts, count, floor, by_mass):
    return _mass(amounts, count, floor) if by_mass else float(_number(amounts, count, floor))


@_vectorised
def _mass(amounts, count, floor):
    """The sum of what reaches `floor`."""
    mass = 0.0
    for n in range(count):
        mass += amounts[n] if amounts[n] >= floor else 0.0
    return mass


@_compiled
def _number(amounts, count, floor):
    """How many reach `floor`."""
    number = 0
    for n in range(count):
        number += amounts[n] >= floor
    return number


@_compiled
def _sort_between(x, count, amounts, floor, ceiling, places):
    """Put the places of what reaches `floor` and not `ceiling`, the highest first, of equals the lower; their number."""
    waiting = 0
    for n in range(count):
        if floor <= amounts[n] < ceiling:
            place = waiting
            while place > 0 and x[places[place - 1]] < x[n]:
                places[place] = places[place - 1]
                place -= 1
            places[place] = n
            waiting += 1
    return waiting


@_compiled
def _enough(w, places, waiting, goal, by_mass):
    """How many of the first of `places`, one less, reach `goal`."""
    amount = 0.0
    for n in range(waiting - 1):
        amount += w[places[n]] if by_mass else 1.0
        if amount >= goal:
            return n
    return waiting - 1


@_compiled
def _gather_above(x, w, ids, count, amounts, floor):
    """Keep what reaches `floor` in `amounts`, which is x or w."""
    kept = 0
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        hits = 0
        for n in range(start, stop):
            hits += amounts[n] >= floor
        if hits:
            for n in range(start, stop):
                reaches = amounts[n] >= floor
                x[kept], w[kept], ids[kept] = x[n], w[n], ids[n]
                kept += reaches
    return kept


@_compiled
def _gather_up_to(x, w, ids, count, last):
    """Keep the token at `last` and what goes before it."""
    edge, kept = x[last], 0
    for n in range(count):
        stays = (x[n] > edge) | ((x[n] == edge) & (n <= last))
        x[kept], w[kept], ids[kept] = x[n], w[n], ids[n]
        kept += stays
    return kept


@_compiled
def _pick(w, count, total, uniform):
    """The place at `uniform` when what is kept lies in a row by weight."""
    # Rounding may lift the product to the total itself, which no token lies beyond.
    spot, held, place = uniform * total, 0.0, 0
    for n in range(count):
        if w[n] > 0.0:
            place = n
            held += w[n]
            if held > spot:
                break
    return place
