"""Choosing the next token: options, filters on logits, and a sampler that owns its generator.

Order: top-k, top-p and min-p cut on the model's own probabilities, each on what the one before left over; the
temperature then reshapes the survivors: a higher temperature never lets a token in that a cut keeps out. The filters
work in float64 and leave what they are given alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rwkv_music.errors import UserError

MAX_SEED = 2**63 - 1
GENERATOR = "pcg64"


class SamplingError(UserError):
    """Logits from which nothing can be drawn."""


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are drawn. Raises ValueError for settings out of range."""

    # Above 1 evens the odds out, below 1 sharpens them; 0 always takes the likeliest token.
    temperature: float = 0.9
    # Keep the likeliest tokens that together hold this share of the probability; 1 keeps all.
    top_p: float = 0.95
    # Keep this many of the likeliest tokens; 0 keeps all.
    top_k: int = 0
    # Drop every token less likely than this share of the likeliest one; 0 drops none.
    min_p: float = 0.0
    # Where the generator starts; the same seed draws the same numbers.
    seed: int = 0

    def __post_init__(self):
        _check_number("temperature", self.temperature, 0.0, 100.0, "0 to 100 (0 always takes the likeliest token)")
        _check_number("top_p", self.top_p, 0.0, 1.0, "above 0 and at most 1 (1 is off)")
        if self.top_p <= 0:
            raise ValueError(f"top_p must be above 0 and at most 1 (1 is off), not {self.top_p}")
        _check_number("min_p", self.min_p, 0.0, 1.0, "0 to 1 (0 is off)")
        _check_integer("top_k", self.top_k, 2**31 - 1, "a whole number, 0 or more (0 is off)")
        _check_integer("seed", self.seed, MAX_SEED, f"a whole number from 0 to {MAX_SEED}")


def _check_number(name: str, value: float, low: float, high: float, rule: str) -> None:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not numeric or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} must be {rule}, not {value!r}")


def _check_integer(name: str, value: int, high: int, rule: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
        raise ValueError(f"{name} must be {rule}, not {value!r}")


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


class Sampler:
    """Draws tokens by `options`, one number of its own generator a token.

    Because every token takes exactly one number, seed and count of draws are the whole state of the generator.
    """

    def __init__(self, options: SamplingOptions, draws: int = 0):
        _check_integer("draws", draws, MAX_SEED, "a whole number, 0 or more")
        self.options = options
        self.draws = draws
        self._generator = np.random.PCG64(options.seed).advance(draws)

    def choose(self, logits: np.ndarray) -> int:
        """The next token for `logits` (V,), float32, -inf where a token is forbidden.

        Raises SamplingError when nothing may be chosen or the logits are not numbers.
        """
        if not math.isfinite(logits.max()):
            raise SamplingError("the model's logits overflowed: the highest must be finite, and none NaN")
        options = self.options
        uniform = self._uniform()
        if options.temperature == 0:
            return int(logits.argmax())
        logits = logits.astype(np.float64)
        cut = keep_min_p(keep_top_p(keep_top_k(logits, options.top_k), options.top_p), options.min_p)
        return pick(temper(cut, options.temperature), uniform)

    def _uniform(self) -> float:
        self.draws += 1
        return (self._generator.random_raw() >> 11) * 2.0**-53

    def continued(self, options: SamplingOptions) -> "Sampler":
        """A sampler that goes on from here under other options; another seed starts its own generator afresh."""
        return Sampler(options, self.draws if options.seed == self.options.seed else 0)

    def clone(self) -> "Sampler":
        """An independent sampler that will draw the same tokens."""
        return Sampler(self.options, self.draws)

    def state(self) -> dict[str, str | int]:
        """The generator's state as plain JSON data."""
        return {"generator": GENERATOR, "seed": self.options.seed, "draws": self.draws}

    @classmethod
    def from_state(cls, options: SamplingOptions, state: Mapping[str, Any]) -> "Sampler":
        """The sampler whose `state()` this was. Raises ValueError when it is no such state."""
        if set(state) != {"generator", "seed", "draws"} or state["generator"] != GENERATOR:
            raise ValueError(
                f"a generator's state holds generator ({GENERATOR!r}), seed and draws, not {dict(state)!r}"
            )
        if state["seed"] != options.seed:
            raise ValueError(f"the generator's seed {state['seed']!r} is not the options' {options.seed}")
        return cls(options, state["draws"])
