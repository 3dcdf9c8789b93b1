"""Choosing the next token: options, a published model's recipe, and a sampler that owns its generator and its counts.

Order: a recipe's penalties and biases; then top-k, top-p and min-p cut on the probabilities that this gives, each on
what the one before left over (top-p first where it is asked for); the temperature then reshapes the survivors: a higher
temperature never lets a token in that a cut keeps out.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from rwkv_music import filters
from rwkv_music.errors import UserError

MAX_SEED = 2**63 - 1
MAX_TOKEN = 2**31 - 1
MAX_WINDOW = 4096
GENERATOR = "pcg64"

_log = logging.getLogger(__name__)


class SamplingError(UserError):
    """Logits from which nothing can be drawn."""


@dataclass(frozen=True)
class Recipe:
    """What the makers of a published model do to its logits before they draw. Raises ValueError for odd numbers."""

    # Taken from a token's logit for every time it came. How much a time counts is the tokenizer's to say.
    penalty: float = 0.0
    # What is left of each count a token later.
    penalty_decay: float = 1.0
    # By this to the power of its count a token's logit is divided, multiplied where below 0; by `repetition_most` at
    # most. 1 is off.
    repetition: float = 1.0
    repetition_most: float = 1.0
    # How many of the last tokens are counted; 0 counts all.
    window: int = 0
    # The token that ends a piece gets (n - end_from) / end_every as the n-th token, from 0; end_every 0 is off.
    end: int = 0
    end_from: float = 0.0
    end_every: float = 0.0
    # Tokens, and what their logits always get.
    biases: tuple[tuple[int, float], ...] = ()

    def __post_init__(self):
        _check_number("penalty", self.penalty, 0.0, 100.0, "0 to 100 (0 is off)")
        _check_number("penalty_decay", self.penalty_decay, 0.0, 1.0, "0 to 1 (1 never forgets)")
        _check_number("repetition", self.repetition, 1.0, 100.0, "1 to 100 (1 is off)")
        _check_number("repetition_most", self.repetition_most, 1.0, 1e9, "1 or more")
        _check_integer("window", self.window, MAX_WINDOW, f"a number of tokens, 0 to {MAX_WINDOW} (0 is off)")
        _check_integer("end", self.end, MAX_TOKEN, "a token's number")
        _check_number("end_from", self.end_from, -1e9, 1e9, "a number of tokens")
        _check_number("end_every", self.end_every, 0.0, 1e9, "a number of tokens, 0 or more (0 is off)")
        for token, amount in self.biases:
            _check_integer("biases", token, MAX_TOKEN, "tokens' numbers, each with an amount")
            _check_number("biases", amount, -1e30, 1e30, "tokens' numbers, each with an amount")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Recipe":
        """The recipe that `asdict` and JSON made this of. Raises ValueError or TypeError when it is none."""
        return cls(**{**plain, "biases": tuple((token, amount) for token, amount in plain.get("biases", ()))})


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
    # Let top_p cut before top_k, on all probabilities, as the published models' own programs do.
    top_p_first: bool = False
    # What is done to the logits before any of this.
    recipe: Recipe | None = None

    def __post_init__(self):
        _check_number("temperature", self.temperature, 0.0, 100.0, "0 to 100 (0 always takes the likeliest token)")
        _check_number("top_p", self.top_p, 0.0, 1.0, "above 0 and at most 1 (1 is off)")
        if self.top_p <= 0:
            raise ValueError(f"top_p must be above 0 and at most 1 (1 is off), not {self.top_p}")
        _check_number("min_p", self.min_p, 0.0, 1.0, "0 to 1 (0 is off)")
        _check_integer("top_k", self.top_k, 2**31 - 1, "a whole number, 0 or more (0 is off)")
        _check_integer("seed", self.seed, MAX_SEED, f"a whole number from 0 to {MAX_SEED}")
        if not isinstance(self.top_p_first, bool):
            raise ValueError(f"top_p_first must be true or false, not {self.top_p_first!r}")
        if not isinstance(self.recipe, Recipe | None):
            raise ValueError(f"recipe must be a Recipe or None, not {self.recipe!r}")

    def plain(self) -> dict[str, Any]:
        """The options as JSON data; `LATER` ones only where they are in use."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if name not in LATER or value not in (None, False)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "SamplingOptions":
        """The options whose `plain()` this was. Raises ValueError or TypeError when it is none."""
        recipe = plain.get("recipe")
        return cls(**{**plain, "recipe": None if recipe is None else Recipe.from_plain(recipe)})


SETTINGS = tuple(field.name for field in fields(SamplingOptions))
# Missing from what older versions wrote.
LATER = ("top_p_first", "recipe")


def _check_number(name: str, value: float, low: float, high: float, rule: str) -> None:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not numeric or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} must be {rule}, not {value!r}")


def _check_integer(name: str, value: int, high: int, rule: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
        raise ValueError(f"{name} must be {rule}, not {value!r}")


class Sampler:
    """Draws tokens by `options`, one number of its own generator a token, and counts what `follow` tells it.

    Because every token takes exactly one number, seed and count of draws are the whole state of the generator.
    """

    def __init__(self, options: SamplingOptions, draws: int = 0, weights: np.ndarray | None = None):
        """`weights` (V,): how much a token counts for a recipe's penalty each time it comes; None: 1 each."""
        _check_integer("draws", draws, MAX_SEED, "a whole number, 0 or more")
        self.options = options
        self.draws = draws
        # Tokens of the piece so far, and (C,) how often each came, the older times faded.
        self.step = 0
        self.counts = np.zeros(0)
        # The tokens in the recipe's window, the last one last.
        self.recent: list[int] = []
        self._weights = weights
        self._generator = np.random.PCG64(options.seed).advance(draws)
        recipe = options.recipe or Recipe()
        settings = recipe.penalty, options.temperature, options.top_p, options.min_p
        self._settings = np.array([*settings, recipe.repetition, recipe.repetition_most], np.float64)
        ends = ((recipe.end, 0.0),) if recipe.end_every else ()
        self._biased = np.array([token for token, _ in (*ends, *recipe.biases)], np.int64)
        self._biases = np.array([amount for _, amount in (*ends, *recipe.biases)], np.float64)
        self._spoken_of = int(self._biased.max(initial=-1)) + 1
        self._draw = _fastest_draw()()

    def choose(self, logits: np.ndarray) -> int:
        """The next token for `logits` (V,), float32, -inf where a token is forbidden.

        Raises SamplingError when nothing may be chosen, the logits are not numbers, or the recipe is of another
        vocabulary.
        """
        options = self.options
        if options.recipe is not None:
            self._prepare(options.recipe, logits.size)
        uniform = self.uniform()
        token = self._draw(
            logits, self.counts, self._biased, self._biases, self._settings, options.top_k, options.top_p_first, uniform
        )
        if token < 0:
            raise SamplingError("the model's logits overflowed: the highest must be finite, and none NaN")
        return token

    def _prepare(self, recipe: Recipe, vocabulary: int) -> None:
        known = max(self.counts.size, self._spoken_of)
        if known > vocabulary:
            raise SamplingError(f"the recipe speaks of {known} tokens or more, the model has {vocabulary}")
        if recipe.end_every:
            self._biases[0] = (self.step - recipe.end_from) / recipe.end_every

    def uniform(self) -> float:
        """The generator's next number, from 0 to below 1: one token's."""
        self.draws += 1
        return (self._generator.random_raw() >> 11) * 2.0**-53

    def follow(self, token: int) -> None:
        """Take note that the piece goes on with `token`, drawn or not; prompts are not counted."""
        self.step += 1
        recipe = self.options.recipe
        if recipe is None or (recipe.penalty == 0 and recipe.repetition == 1):
            return
        if recipe.window:
            self.recent = [*self.recent, token][-recipe.window :]
            self._count_recent(recipe)
            return
        if token >= self.counts.size:
            known = self.counts
            self.counts = np.zeros(max(token + 1, 0 if self._weights is None else self._weights.size))
            self.counts[: known.size] = known
        self.counts *= recipe.penalty_decay
        self.counts[token] += 1.0 if self._weights is None else self._weights[token]

    def _count_recent(self, recipe: Recipe) -> None:
        tokens = np.array(self.recent, np.int64)
        faded = recipe.penalty_decay ** np.arange(tokens.size - 1, -1, -1.0)
        if self._weights is not None:
            faded *= self._weights[tokens]
        self.counts = np.bincount(tokens, faded)

    def continued(self, options: SamplingOptions) -> "Sampler":
        """A sampler that goes on from here under other options; another seed starts its own generator afresh."""
        twin = Sampler(options, self.draws if options.seed == self.options.seed else 0, self._weights)
        twin.step, twin.counts, twin.recent = self.step, self.counts.copy(), self.recent
        return twin

    def clone(self) -> "Sampler":
        """An independent sampler that will draw the same tokens."""
        return self.continued(self.options)

    def state(self) -> dict[str, Any]:
        """The sampler's state as plain JSON data; tokens and counts where a recipe heeds them."""
        state: dict[str, Any] = {"generator": GENERATOR, "seed": self.options.seed, "draws": self.draws}
        if self.options.recipe is not None and self.step:
            counted = np.flatnonzero(self.counts)
            state["step"] = self.step
            state["counts"] = {str(token): float(self.counts[token]) for token in counted}
            if self.recent:
                state["recent"] = self.recent
        return state

    @classmethod
    def from_state(
        cls, options: SamplingOptions, state: Mapping[str, Any], weights: np.ndarray | None = None
    ) -> "Sampler":
        """The sampler whose `state()` this was. Raises ValueError when it is no such state."""
        alone = {"generator", "seed", "draws"}
        if set(state) - {"recent"} not in (alone, alone | {"step", "counts"}) or state["generator"] != GENERATOR:
            raise ValueError(
                f"a generator's state holds generator ({GENERATOR!r}), seed and draws, not {dict(state)!r}"
            )
        if state["seed"] != options.seed:
            raise ValueError(f"the generator's seed {state['seed']!r} is not the options' {options.seed}")
        sampler = cls(options, state["draws"], weights)
        sampler._restore(state.get("step", 0), state.get("counts", {}))
        if "recent" in state:
            sampler._restore_recent(state["recent"])
        return sampler

    def _restore(self, step: Any, counts: Any) -> None:
        _check_integer("step", step, MAX_SEED, "a whole number, 0 or more")
        if not isinstance(counts, dict) or not all(token.isdecimal() and len(token) < 9 for token in counts):
            raise ValueError("counts must be an object of tokens and how often each came")
        for count in counts.values():
            _check_number("counts", count, -1e9, 1e9, "how often each token came")
        self.step = step
        if counts and self.options.recipe is None:
            raise ValueError("counts belong to a recipe, and these options have none")
        if counts:
            known = 0 if self._weights is None else self._weights.size
            self.counts = np.zeros(max(known, 1 + max(int(token) for token in counts)))
            self.counts[[int(token) for token in counts]] = list(counts.values())

    def _restore_recent(self, recent: Any) -> None:
        window = self.options.recipe.window if self.options.recipe else 0
        known = 10**8 if self._weights is None else self._weights.size
        if not isinstance(recent, list) or not 0 < len(recent) <= window:
            raise ValueError(f"recent must be a list of 1 to {window} tokens, the recipe's window")
        for token in recent:
            _check_integer("recent", token, known - 1, "tokens of the model")
        self.recent = recent
        assert self.options.recipe
        self._count_recent(self.options.recipe)


@cache
def _fastest_draw() -> Callable[[], Callable[..., int]]:
    """What makes the native draw, or the formula in numpy where Numba is missing, which the log tells once."""
    try:
        from rwkv_music_kernels.cpu.cache import settle_cache

        settle_cache()
        from rwkv_music_kernels.cpu.draw import Draw
    except (ImportError, OSError) as error:
        _log.warning("tokens are drawn the slow way: Numba cannot be loaded (%s); mend with: pip install numba", error)
        return lambda: filters.draw
    return Draw
