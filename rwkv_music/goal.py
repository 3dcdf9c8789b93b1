"""Where a run stops: after bars, seconds or tokens, cut at a bar line or brought to a musical end."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from rwkv_music.making import Run
from rwkv_music_tokenizers.grammar import Ending, Grammar

# Share of what was asked for after which a piece that is to be closed may end by itself.
NEARLY = Fraction(3, 4)
# Tokens that a piece may take to come to its end, after the most that it was to have.
CLOSING_TOKENS = 512


@dataclass(frozen=True)
class Goal:
    """What a run goes for, counted like the piece it carries on: from the end of the prompt."""

    # Bars and quarters; None where none were asked for.
    bars: Fraction | None = None
    quarters: Fraction | None = None
    # Tokens at which it ends whatever happens, and at which it is time to close.
    tokens: int = 0
    closing: int = 0
    # Bring the piece to its end, rather than cut it.
    close: bool = False
    # Bars and quarters where the run began.
    begun: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))

    @classmethod
    def of(cls, run: Run, grammar: Grammar, tempo: Callable[[], Fraction], length: int) -> "Goal":
        """The goal of a run on a piece of `length` tokens, which `grammar` has followed; tempo: quarters a minute."""
        # Parts of bars are left aside: one that the prompt began is no bar that was asked for.
        bars = None if run.bars is None else Fraction(int(grammar.bars) + run.bars)
        quarters = None if run.seconds is None else grammar.quarters + Fraction(run.seconds) * tempo() / 60
        closing = length + run.max_tokens
        tokens = closing + (CLOSING_TOKENS if run.close else 0)
        if run.cut is not None:
            tokens = min(tokens, length + run.cut)
        return cls(bars, quarters, tokens, closing, run.close, (grammar.bars, grammar.quarters))

    @property
    def further(self) -> bool:
        """A length was asked for, so that an ended piece goes on."""
        return self.bars is not None or self.quarters is not None

    def is_reached(self, grammar: Grammar, length: int) -> bool:
        """A piece of `length` tokens, which `grammar` has followed, has all that was asked for."""
        if length >= self.tokens:
            return True
        if self.close:
            return False
        bars = self.bars is not None and grammar.bars >= self.bars
        return bars or (self.quarters is not None and grammar.at_bar and grammar.quarters >= self.quarters)

    def ending(self, grammar: Grammar, length: int) -> Ending:
        """Whether the piece may end now."""
        if self.close and length >= self.closing:
            return Ending.MUST
        if not self.further:
            return Ending.MAY
        share = self._share(grammar)
        if not self.close or share < NEARLY:
            return Ending.NEVER
        return Ending.MAY if share < 1 else Ending.MUST

    def _share(self, grammar: Grammar) -> Fraction:
        """How much of what was asked for there is."""
        shares = [
            (now - begun) / (goal - begun) if goal > begun else Fraction(1)
            for goal, now, begun in zip(
                (self.bars, self.quarters), (grammar.bars, grammar.quarters), self.begun, strict=True
            )
            if goal is not None
        ]
        return max(shares)
