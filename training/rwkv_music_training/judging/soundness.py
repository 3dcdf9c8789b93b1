"""How sound some tunes are as notation: whether abc2midi reads them and whether their bars add up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.bars import BarCount, check_bars, count_bars
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_training.judging.abc2midi import abc2midi_errors, kind_of


@dataclass(frozen=True)
class Verdict:
    """What is wrong with one tune."""

    # The lines in which abc2midi says "Error".
    errors: tuple[str, ...]
    bars: BarCount
    # Every bar that does not add up, in words.
    faults: tuple[str, ...]

    @property
    def every_bar_right(self) -> bool:
        """Whether there are bars, and each is full, or short beside a section boundary."""
        return self.bars.total > 0 and self.bars.wrong == 0


@dataclass(frozen=True)
class Soundness:
    """What is wrong with many tunes. Shares are 0..1."""

    verdicts: tuple[Verdict, ...]

    @property
    def tunes(self) -> int:
        return len(self.verdicts)

    @property
    def bars(self) -> BarCount:
        """The bars of all tunes."""
        counts = [verdict.bars for verdict in self.verdicts]
        return BarCount(
            sum(count.full for count in counts),
            sum(count.short_at_boundary for count in counts),
            sum(count.wrong for count in counts),
        )

    @property
    def read_without_error(self) -> float:
        """The share of tunes that abc2midi reads without an error."""
        return sum(not verdict.errors for verdict in self.verdicts) / self.tunes

    @property
    def bars_right(self) -> float:
        """The share of bars that are full, or short beside a section boundary."""
        return 1 - self.bars.wrong / max(1, self.bars.total)

    @property
    def tunes_right(self) -> float:
        """The share of tunes with every bar right."""
        return sum(verdict.every_bar_right for verdict in self.verdicts) / self.tunes

    def kinds_of_errors(self) -> list[tuple[str, int]]:
        """What abc2midi says, and of how many tunes it says it, commonest first."""
        return Counter(kind for verdict in self.verdicts for kind in set(map(kind_of, verdict.errors))).most_common()


def judge(texts: Sequence[str], program: Path) -> Soundness:
    """Judge tunes without X: lines; `program` is abc2midi. At least one tune."""
    return Soundness(tuple(verdict("X:1\n" + text, program) for text in texts))


def verdict(text: str, program: Path | None) -> Verdict:
    """Judge one tune that begins with X:; without abc2midi nobody but our own reader reads it."""
    errors = () if program is None else tuple(abc2midi_errors(text, program))
    try:
        score = read_abc(text)
    except NotationError as error:
        return Verdict(errors, BarCount(0, 0, 0), (str(error),))
    return Verdict(errors, count_bars(score), tuple(fault.message for fault in check_bars(score)))
