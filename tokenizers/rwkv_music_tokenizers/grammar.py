"""What may follow in a vocabulary, so that whatever is drawn is music: bars add up, no note hangs, the piece ends."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from fractions import Fraction
from typing import Any, Protocol

import numpy as np


class Ending(Enum):
    """Whether the piece may come to its end."""

    # It goes on: neither an end token nor what is written only at an end.
    NEVER = "never"
    # The model chooses, wherever the music is complete.
    MAY = "may"
    # Only what closes the bar being written, and then the piece.
    MUST = "must"


@dataclass(frozen=True)
class Limits:
    """What new music is kept to; each is off by default. Raises ValueError for what leaves nothing."""

    # Lowest and highest pitch, MIDI numbers; drums are not meant.
    lowest: int = 0
    highest: int = 127
    # Pitch classes 0..11 that may sound (a scale); empty for all.
    classes: frozenset[int] = frozenset()
    # General MIDI programs that may play; empty for all.
    programs: frozenset[int] = frozenset()
    # False: no drums.
    drums: bool = True
    # The most notes that sound at once in one instrument; 0 for any number.
    polyphony: int = 0

    def __post_init__(self) -> None:
        for name, value, most in (
            ("lowest", self.lowest, 127),
            ("highest", self.highest, 127),
            ("polyphony", self.polyphony, 128),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
                raise ValueError(f"{name} must be a whole number from 0 to {most}, not {value!r}")
        for name, numbers, most in (("classes", self.classes, 11), ("programs", self.programs, 127)):
            if not all(isinstance(number, int) and 0 <= number <= most for number in numbers):
                raise ValueError(f"{name} must be whole numbers from 0 to {most}, not {sorted(map(str, numbers))}")
        if not self.pitches:
            raise ValueError("no pitch may sound: widen the range, or the scale")

    def plain(self) -> dict[str, Any]:
        """The limits as JSON data."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in plain.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Limits":
        """The limits whose `plain()` this was. Raises ValueError or TypeError when they are none."""
        return cls(**{**plain, **{name: frozenset(plain.get(name, ())) for name in ("classes", "programs")}})

    @property
    def pitches(self) -> Collection[int]:
        """Every pitch that may sound."""
        wanted = self.classes or frozenset(range(12))
        return [pitch for pitch in range(self.lowest, self.highest + 1) if pitch % 12 in wanted]


NO_LIMITS = Limits()


class Grammar(Protocol):
    """Follows a piece token by token. What was there before it (a prompt) may break its rules, what comes may not."""

    # Set by whoever composes, at any time.
    ending: Ending

    def allowed(self) -> np.ndarray:
        """(V,) bool: the tokens from which the piece can still be brought to a valid end. Not to be changed.

        All false only where a dead end was reached, or the piece has ended.
        """
        ...

    def follow(self, token: int) -> None:
        """Take the next token, allowed or not."""
        ...

    def clone(self) -> "Grammar":
        """The same moment once more, to go another way."""
        ...

    @property
    def ended(self) -> bool:
        """The end token was taken."""
        ...

    @property
    def bars(self) -> Fraction:
        """Bars made since the grammar began to follow, as musicians count them: upbeats for nothing."""
        ...

    @property
    def at_bar(self) -> bool:
        """A bar has just ended and none begun: the place for a snapshot, and for a cut."""
        ...

    @property
    def quarters(self) -> Fraction:
        """Quarters of music made since the grammar began to follow; where a codec knows only seconds, at 120 a minute."""
        ...
