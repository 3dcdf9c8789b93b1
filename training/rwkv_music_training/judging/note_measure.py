"""Everything that is measured of a finished model of notes: what MIDI costs it, and what it writes by itself."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import EOS
from rwkv_music_training.judging.copying import Copied, longest_shared
from rwkv_music_training.judging.note_bits import NoteBits, evaluate_windows, every_window
from rwkv_music_training.judging.order import KIND_PLACE, TOKENIZER, in_order
from rwkv_music_training.judging.predictors import Predictor
from rwkv_music_training.judging.recipe import NoteRecipe
from rwkv_music_training.judging.sharing import Sharing
from rwkv_music_training.judging.statistics import Statistics, statistics
from rwkv_music_training.judging.steps import steps
from rwkv_music_training.judging.tiles import Windows, source_quotas
from rwkv_music_training.judging.writing import opening_of, write
from rwkv_music_training.note_corpus import NoteCorpus, note_corpus

# Pieces written without the grammar, to see how much it is needed.
FREE_PIECES = 25


@dataclass(frozen=True)
class Written:
    """Pieces as documents of ids, and what was counted of them."""

    documents: tuple[np.ndarray, ...]
    statistics: tuple[Statistics, ...]
    # The longest stretch of steps that each shares with a training piece.
    shared: Sharing

    @property
    def ended(self) -> int:
        """Pieces with an end."""
        return sum(int(ids[-1]) == EOS for ids in self.documents)

    def kinds(self) -> dict[str, int]:
        """How many pieces there are of each kind."""
        told = [TOKENIZER.text(ids[KIND_PLACE : KIND_PLACE + 1]).removeprefix("kind:") for ids in self.documents]
        return {kind: told.count(kind) for kind in dict.fromkeys(sorted(told))}


@dataclass(frozen=True)
class NoteFindings:
    """The measurements of one model."""

    # By source, and of "all": every validation document in windows that follow each other.
    bits: dict[str, NoteBits]
    # What the model wrote with its grammar, and the first window of every validation document.
    own: Written
    real: Written
    # Pieces that it wrote without, and the share of them whose every token the tokenizer would have written, 0..1.
    free: int
    in_order: float
    seed: int
    # The training pieces, and the share of each source in what is read of them.
    train: NoteCorpus
    shares: np.ndarray


def measure_notes(
    predictor: Predictor, recipe: NoteRecipe, data: Path, cache: Path, count: int, seed: int, say: Callable[[str], None]
) -> NoteFindings:
    """Measure a model on the collection it was trained on. Raises CorpusError."""
    started = time.monotonic()

    def told(line: str) -> None:
        say(f"{time.monotonic() - started:4.0f} s  {line}")

    train, valid = (note_corpus(data, split, cache, recipe, told) for split in (recipe.train_file, recipe.valid_file))
    windows = Windows(valid, recipe.max_length)
    bits = evaluate_windows(predictor, windows, every_window(windows))
    told(f"{bits['all'].per_note:.4f} bits/note on {len(valid)} validation pieces")
    free = _write(predictor, recipe, min(count, FREE_PIECES), seed, masked=False)
    own = _write(predictor, recipe, count, seed, masked=True)
    told(f"{len(own)} pieces written, {sum(map(len, own)):,} tokens")
    real = [windows.ids(windows.of(number)[0]) for number in range(len(valid))]
    known = [steps(TOKENIZER.decode(train.document(number))) for number in range(len(train))]
    told(f"{sum(map(len, known)):,} steps of {len(train):,} training pieces")
    quotas = source_quotas(train, recipe.source_power)
    own, real = _written(own, known), _written(real, known)
    orderly = float(np.mean([in_order(ids) for ids in free]))
    return NoteFindings(bits, own, real, len(free), orderly, seed, train, quotas / quotas.sum())


def _write(predictor: Predictor, recipe: NoteRecipe, count: int, seed: int, *, masked: bool) -> list[np.ndarray]:
    """Pieces from nothing, up to their end or the longest window that the model has learnt."""
    pieces = write(
        predictor,
        count,
        opening_of("notes"),
        masked=masked,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        seed=seed,
        longest=recipe.max_length - 1,
        closing=False,
    )
    return [piece.ids.astype(np.uint16) for piece in pieces]


def _written(documents: Sequence[np.ndarray], known: Sequence[np.ndarray]) -> Written:
    played = [TOKENIZER.decode(ids) for ids in documents]
    copies: list[Copied] = longest_shared([steps(one) for one in played], known)
    return Written(tuple(documents), tuple(statistics(one) for one in played), Sharing(tuple(copies)))
