"""The bar lines of a piece: where it stood at each, and as many of the model's states there as a budget of bytes lets in."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from rwkv_music.model.state import State
from rwkv_music.sampling import SamplingOptions

# Of the states of one piece.
BUDGET = 64 << 20


@dataclass(frozen=True, eq=False)
class Moment:
    """A piece between two bars."""

    # Tokens from the beginning, the prompt's included.
    length: int
    # How the next token is drawn: settings, and numbers that the generator has given.
    options: SamplingOptions
    draws: int
    # After the last token; None where the budget did not let them in. They can be had again from the tokens.
    state: State | None
    logits: Tensor | None

    @property
    def bytes(self) -> int:
        """What the state takes."""
        if self.state is None or self.logits is None:
            return 0
        return sum(x.nbytes for x in (*self.state.tensors().values(), self.logits))


class Moments:
    """Moments in the order of their length. Those without a state stay, so that every bar can be found."""

    def __init__(self, budget: int = BUDGET):
        self._budget = budget
        self._kept: list[Moment] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Moment]:
        return iter(self._kept)

    def add(self, moment: Moment) -> None:
        """Keep a moment, in the place of any that is not before it."""
        self.forget_from(moment.length)
        self._kept.append(moment)
        self._bytes += moment.bytes
        if self._bytes > self._budget:
            self._thin()

    def forget_from(self, length: int) -> None:
        """Let go of every moment of so many tokens or more."""
        while self._kept and self._kept[-1].length >= length:
            self._bytes -= self._kept.pop().bytes

    def until(self, length: int) -> Moment | None:
        """The last moment of at most so many tokens."""
        place = bisect_right(self._kept, length, key=lambda moment: moment.length)
        return self._kept[place - 1] if place else None

    def state_until(self, length: int) -> Moment | None:
        """The same among those whose state was kept."""
        place = bisect_right(self._kept, length, key=lambda moment: moment.length)
        return next((moment for moment in reversed(self._kept[:place]) if moment.state is not None), None)

    def shed(self) -> None:
        """Let go of every state but the last."""
        for place, moment in enumerate(self._kept[:-1]):
            self._bytes -= moment.bytes
            self._kept[place] = replace(moment, state=None, logits=None)

    def clone(self) -> "Moments":
        """The same moments, to be added to in another way."""
        twin = Moments(self._budget)
        twin._kept, twin._bytes = list(self._kept), self._bytes
        return twin

    def _thin(self) -> None:
        """Every second state goes but the last, so that any moment stays near one that has its state."""
        places = [place for place, moment in enumerate(self._kept[:-1]) if moment.state is not None]
        for place in places[1::2]:
            self._bytes -= self._kept[place].bytes
            self._kept[place] = replace(self._kept[place], state=None, logits=None)
