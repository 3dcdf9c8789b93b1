"""Everything that is found of one contender on one corpus, and what is found of the corpus itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rwkv_music.errors import UserError
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_training.judging.contenders import Contender
from rwkv_music_training.judging.copies import Known
from rwkv_music_training.judging.costs import Reckoning, reckon
from rwkv_music_training.judging.distance import DistanceError, music_distance
from rwkv_music_training.judging.pieces import Piece
from rwkv_music_training.judging.sharing import Sharing
from rwkv_music_training.judging.shelf import Shelf
from rwkv_music_training.judging.statistics import Statistics, medians, statistics
from rwkv_music_training.judging.validity import Validity, judge_pieces
from rwkv_music_training.judging.writing import opening_of, write

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """How contenders are tried."""

    split: str = "valid"
    tiers: tuple[str, ...] = ("A",)
    # Held-out pieces that are read, and ids of each; 0 for all.
    pieces: int = 0
    longest_read: int = 0
    # Pieces that each writes with its masks, and as many without; 0 for none.
    written: int = 100
    longest_written: int = 2048
    # Training pieces that copies are looked for in and n-grams learn from, 0 for all; None for no search.
    known: int | None = 0
    seed: int = 1
    # None: as the contender's own config says.
    temperature: float | None = None
    top_p: float | None = None
    distance: bool = False


@dataclass(frozen=True)
class Ground:
    """A corpus that contenders are judged on; what is found of it is found once."""

    name: str
    shelf: Shelf
    trial: Trial

    @cached_property
    def held(self) -> list[Piece]:
        """The pieces that are read. Raises UserError when there is none."""
        found = self.shelf.pieces(self.trial.split, self.trial.pieces)
        if not found:
            raise UserError(
                f"{self.shelf.place}: no piece of split {self.trial.split}, tier {', '.join(self.trial.tiers)}"
            )
        return found

    @cached_property
    def train(self) -> list[Piece]:
        """The pieces that are known to learners."""
        return self.shelf.pieces("train", self.trial.known or 0)

    @cached_property
    def language(self) -> str:
        """The code that n-grams speak here: ABC where the corpus can be read so, else notes."""
        try:
            self.held[0].document("abc")
        except UserError:
            return getattr(self.held[0], "language", "notes")
        return "abc"

    @cached_property
    def counted(self) -> list[Statistics]:
        """What is counted of the real pieces, as many as contenders write."""
        found = []
        for piece in self.held[: max(1, self.trial.written)]:
            try:
                found.append(statistics(piece.performance))
            except NotationError:
                continue
        return found

    def known(self, language: str) -> Known | None:
        """The training set as copies are found in it; None where there is none, or where nobody looks."""
        if self.trial.known is None or not self.train:
            return None
        if language not in self._known:
            self._known[language] = Known(documents(self.train, language), language)
        return self._known[language]

    _known: dict[str, Known] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """What is found of one contender."""

    contender: Contender
    ground: Ground
    reckoning: Reckoning
    # Without masks and with them; None where nothing was written.
    free: Validity | None = None
    masked: Validity | None = None
    counted: tuple[Statistics, ...] = ()
    # Of what it wrote without masks, and of as many real pieces; the number of training pieces; what is counted.
    shared: Sharing | None = None
    shared_real: Sharing | None = None
    unit: str = ""
    distance: float | None = None

    def plain(self) -> dict[str, Any]:
        """Everything as JSON data."""
        one = self.contender
        return {
            "model": one.name,
            "about": one.about,
            "code": one.language,
            "parameters": one.parameters,
            "corpus": self.ground.name,
            "cost": self.reckoning.by_source["all"].plain(),
            "by_source": {
                source: {name: value for name, value in costs.plain().items() if name != "kinds"}
                for source, costs in self.reckoning.by_source.items()
                if source != "all"
            },
            "left_out": self.reckoning.left_out,
            "without_masks": self.free.plain() if self.free else None,
            "with_masks": self.masked.plain() if self.masked else None,
            "music": medians(self.counted) if self.counted else None,
            "copied": copied(self.shared, self.unit),
            "copied_real": copied(self.shared_real, self.unit),
            "fmd": None if self.distance is None else round(self.distance, 3),
        }


def copied(sharing: Sharing | None, unit: str) -> dict[str, Any] | None:
    """The longest copied stretches as JSON data."""
    if sharing is None or not sharing.stretches:
        return None
    # A run of n steps is one of n + 1 notes.
    more = 1 if unit == "notes" else 0
    lengths = [round(length) + more for length in sharing.lengths(50, 90, 100)]
    return {
        "unit": unit,
        "median_90_max": lengths,
        "largest_share": round(sharing.shares(100)[0], 4),
        "half_known": sharing.half_known,
        "pieces": len(sharing.stretches),
    }


def judge(contender: Contender, ground: Ground, trial: Trial, say: Say) -> Judgement:
    """Read, let write, and compare. Raises UserError where the contender cannot read the corpus."""
    language = contender.language
    reckoning = reckon(contender.predictor, ground.held, language, trial.longest_read)
    whole = reckoning.by_source["all"]
    say(f"{contender.name}: {whole.per_token:.3f} bits a token on {whole.pieces:,} pieces")
    if not trial.written:
        return Judgement(contender, ground, reckoning)
    opening = opening_of(language)
    free, masked = (
        judge_pieces(
            write(
                contender.predictor,
                trial.written,
                opening,
                masked=masked,
                temperature=trial.temperature or contender.temperature,
                top_p=trial.top_p or contender.top_p,
                seed=trial.seed,
                longest=trial.longest_written,
            ),
            language,
        )
        for masked in (False, True)
    )
    say(f"{contender.name}: {free.valid:.1%} of {trial.written} pieces right, {masked.valid:.1%} with masks")
    played = [piece.performance for piece in masked.pieces if piece.performance is not None]
    known = ground.known(language)
    own = [piece.written.ids for piece in free.pieces]
    real = documents(ground.held[: trial.written], language) if known else []
    return Judgement(
        contender,
        ground,
        reckoning,
        free,
        masked,
        tuple(map(statistics, played)),
        known.share(own) if known else None,
        known.share(real) if known else None,
        known.unit if known else "",
        _distance(ground, played, say) if trial.distance else None,
    )


def _distance(ground: Ground, played: Sequence[Performance], say: Say) -> float | None:
    """The distance from the real pieces; where it cannot be had, a line that says why."""
    try:
        return music_distance([piece.performance for piece in ground.held], played)
    except (DistanceError, NotationError) as error:
        say(str(error))
        return None


def documents(pieces: Sequence[Piece], language: str) -> list[np.ndarray]:
    """The documents of the pieces that the code can say."""
    found = []
    for piece in pieces:
        try:
            found.append(np.asarray(piece.document(language), dtype=np.int64))
        except (UserError, NotationError):
            continue
    return found
