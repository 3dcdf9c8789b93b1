"""What music must be like to come into a corpus: long enough, neither too dense nor too thin, its bars full."""

from dataclasses import dataclass

from rwkv_music_tokenizers.bars import count_bars
from rwkv_music_tokenizers.score import Score
from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.pieces import Unfit
from rwkv_music_training.corpus.sounding import Sounding


@dataclass(frozen=True)
class Filters:
    """Bounds; 0 stands for none."""

    fewest_notes: int = 16
    # Seconds, from the beginning to the end of the last note.
    longest: float = 7200.0
    # Ids of a document.
    most_ids: int = 0
    # Notes a second, over the whole piece.
    densest: float = 60.0
    thinnest: float = 0.1
    # Seconds in which nothing sounds.
    silence: float = 30.0
    # The share of bars that may not add up, of pieces that come as notation.
    wrong_bars: float = 0.1

    def check(self, sounding: Sounding, score: Score | None) -> None:
        """Raises Unfit for a piece that is out of bounds."""
        if sounding.count < self.fewest_notes:
            raise Unfit(items.TOO_SHORT, f"{sounding.count} notes")
        if self.longest and sounding.seconds > self.longest:
            raise Unfit(items.TOO_LONG, f"{sounding.seconds:.0f} s")
        density = sounding.count / max(sounding.seconds, 0.01)
        if self.densest and density > self.densest:
            raise Unfit(items.TOO_DENSE, f"{density:.0f} a second")
        if density < self.thinnest:
            raise Unfit(items.TOO_THIN, f"{density:.3f} a second")
        if self.silence and sounding.silence > self.silence:
            raise Unfit(items.SILENT, f"{sounding.silence:.0f} s")
        if score is not None:
            self._check_bars(score)

    def check_ids(self, ids: int) -> None:
        """Raises Unfit for a document of so many ids that has too many."""
        if self.most_ids and ids > self.most_ids:
            raise Unfit(items.TOO_LONG, f"{ids:,} ids")

    def _check_bars(self, score: Score) -> None:
        bars = count_bars(score)
        if bars.wrong > self.wrong_bars * bars.total:
            raise Unfit(items.WRONG_BARS, f"{bars.wrong} of {bars.total}")
