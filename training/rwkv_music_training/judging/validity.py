"""Which of a model's pieces are right, and what is wrong with the others."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music_tokenizers.abc_tokens import decode
from rwkv_music_tokenizers.bars import BarCount
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_training.judging.abc2midi import JudgeError, find_abc2midi, kind_of
from rwkv_music_training.judging.order import in_order
from rwkv_music_training.judging.pieces import performance_of
from rwkv_music_training.judging.soundness import Verdict, verdict
from rwkv_music_training.judging.writing import Written

UNFINISHED = "has not ended"


@dataclass(frozen=True, eq=False)
class Judged:
    """One piece of a model."""

    written: Written
    # Everything that is wrong with it, in words; nothing for a piece that is right.
    faults: tuple[str, ...]
    # How it sounds; None where nobody can say.
    performance: Performance | None
    # Of ABC: what abc2midi and our own reader say, and its bars.
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Validity:
    """What is wrong with some pieces. Shares are 0..1."""

    pieces: tuple[Judged, ...]
    # Whether abc2midi was there to read them.
    read_by_abc2midi: bool = False

    @property
    def valid(self) -> float:
        """The share of pieces with nothing wrong."""
        return self._share(lambda piece: not piece.faults)

    @property
    def ended(self) -> float:
        """The share that came to its end by itself."""
        return self._share(lambda piece: piece.written.ended)

    @property
    def bars(self) -> BarCount | None:
        """The bars of all tunes; None where pieces have no written bars."""
        counts = [piece.verdict.bars for piece in self.pieces if piece.verdict is not None]
        return sum_of(counts) if counts else None

    @property
    def tunes_right(self) -> float:
        """The share of tunes with every bar right."""
        return self._share(lambda piece: piece.verdict is not None and piece.verdict.every_bar_right)

    def faults(self) -> list[tuple[str, int]]:
        """What is wrong, and with how many pieces, commonest first."""
        return Counter(fault for piece in self.pieces for fault in set(piece.faults)).most_common()

    def plain(self) -> dict[str, Any]:
        """Everything as JSON data."""
        told: dict[str, Any] = {
            "pieces": len(self.pieces),
            "valid": _rounded(self.valid),
            "ended": _rounded(self.ended),
        }
        if (bars := self.bars) is not None:
            told["bars_right"] = _rounded(1 - bars.wrong / max(1, bars.total))
            told["tunes_with_every_bar_right"] = _rounded(self.tunes_right)
            if self.read_by_abc2midi:
                told["abc2midi_without_error"] = _rounded(
                    self._share(lambda piece: piece.verdict is not None and not piece.verdict.errors)
                )
        return {**told, "faults": dict(self.faults())}

    def _share(self, right) -> float:
        return sum(map(right, self.pieces)) / max(1, len(self.pieces))


def judge_pieces(written: Sequence[Written], language: str) -> Validity:
    """What is wrong with pieces in a code; abc2midi reads the tunes where it is installed."""
    try:
        program = find_abc2midi() if language == "abc" else None
    except JudgeError:
        program = None
    return Validity(tuple(_judged(piece, language, program) for piece in written), program is not None)


def _judged(written: Written, language: str, program: Path | None) -> Judged:
    unfinished = () if written.ended else (UNFINISHED,)
    if language == "abc":
        told = verdict(f"X:1\n{decode(written.ids.tolist())}", program)
        return Judged(written, (*unfinished, *_wrong_tune(told)), _sounding(written, language)[0], told)
    performance, fault = _sounding(written, language)
    if performance is None:
        return Judged(written, (*unfinished, fault), None)
    faults = [*unfinished, *wrong_midi(performance)]
    if language == "notes" and not in_order(written.ids):
        faults.append("not what the tokenizer would write")
    return Judged(written, tuple(faults), performance)


def _sounding(written: Written, language: str) -> tuple[Performance | None, str]:
    try:
        return performance_of(written.ids, language), ""
    except (NotationError, UserError, ValueError) as error:
        return None, f"cannot be played: {error.message if isinstance(error, NotationError) else error}"


def _wrong_tune(told: Verdict) -> Iterator[str]:
    if not told.bars.total:
        yield "no bars" if not told.faults else f"our reader: {told.faults[0].partition(': ')[2] or told.faults[0]}"
    elif told.bars.wrong:
        yield "a bar that does not add up"
    for error in told.errors:
        yield f"abc2midi: {kind_of(error)}"


def wrong_midi(performance: Performance) -> Iterator[str]:
    """What is wrong with a performance: silence, notes over notes, and what its MIDI file loses."""
    if not performance.count:
        yield "no notes"
        return
    if any(_overlaps(track.notes.tolist()) for track in performance.tracks):
        yield "a note over a note"
    try:
        again = read_midi(write_performance(performance))
    except (NotationError, ValueError) as error:
        yield f"no MIDI: {error}"
        return
    if again.count != performance.count or again.repairs:
        yield "its MIDI file reads otherwise"


def _overlaps(notes: Sequence[Sequence[int]]) -> bool:
    """Whether two notes of one pitch sound at once; rows of start, end, pitch and velocity."""
    last: dict[int, int] = {}
    for start, end, pitch, _ in sorted(map(tuple, notes)):
        if last.get(pitch, -1) > start:
            return True
        last[pitch] = end
    return False


def sum_of(counts: Sequence[BarCount]) -> BarCount:
    """Bars of several pieces together."""
    return BarCount(
        sum(count.full for count in counts),
        sum(count.short_at_boundary for count in counts),
        sum(count.wrong for count in counts),
    )


def _rounded(share: float) -> float:
    return round(share, 4)
