"""Everything that is measured of a finished model of notes: what MIDI costs it, and what it writes by itself."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rwkv_music.model.versions import Model
from rwkv_music_tokenizers.note_grammar import NoteGrammar
from rwkv_music_tokenizers.note_vocabulary import BOS, EOS
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.evaluate_notes import NoteBits, evaluate_windows, every_window
from rwkv_music_training.judging.copying import Copied, longest_shared
from rwkv_music_training.judging.order import KIND_PLACE, TOKENIZER, in_order
from rwkv_music_training.judging.sharing import Sharing
from rwkv_music_training.judging.statistics import Statistics, statistics
from rwkv_music_training.judging.steps import steps
from rwkv_music_training.note_batches import Windows, source_quotas
from rwkv_music_training.note_corpus import NoteCorpus, note_corpus
from rwkv_music_training.samples import sample_groups

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
    model: Model, config: TrainingConfig, data: Path, cache: Path, count: int, seed: int, say: Callable[[str], None]
) -> NoteFindings:
    """Measure a model on the collection it was trained on. Raises CorpusError."""
    started = time.monotonic()

    def told(line: str) -> None:
        say(f"{time.monotonic() - started:4.0f} s  {line}")

    train, valid = (note_corpus(data, split, cache, config, told) for split in (config.train_file, config.valid_file))
    windows = Windows(valid, config.max_length)
    bits = evaluate_windows(model, windows, every_window(windows))
    told(f"{bits['all'].per_note:.4f} bits/note on {len(valid)} validation pieces")
    free = _write(model, config, min(count, FREE_PIECES), seed, None)
    own = _write(model, config, count, seed, NoteGrammar([BOS]))
    told(f"{len(own)} pieces written, {sum(map(len, own)):,} tokens")
    real = [windows.ids(windows.of(number)[0]) for number in range(len(valid))]
    known = [steps(TOKENIZER.decode(train.document(number))) for number in range(len(train))]
    told(f"{sum(map(len, known)):,} steps of {len(train):,} training pieces")
    quotas = source_quotas(train, config.source_power)
    own, real = _written(own, known), _written(real, known)
    orderly = float(np.mean([in_order(ids) for ids in free]))
    return NoteFindings(bits, own, real, len(free), orderly, seed, train, quotas / quotas.sum())


def _write(
    model: Model, config: TrainingConfig, count: int, seed: int, grammar: NoteGrammar | None
) -> list[np.ndarray]:
    """Pieces from nothing, up to their end or the longest window that the model has learnt."""
    room = config.max_length - 1
    pieces = sample_groups(
        model,
        count,
        [BOS],
        EOS,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=seed,
        max_length=room,
        grammar=grammar,
    )
    return [np.array([BOS, *ids, *[EOS][len(ids) == room :]], dtype=np.uint16) for ids in pieces]


def _written(documents: Sequence[np.ndarray], known: Sequence[np.ndarray]) -> Written:
    played = [TOKENIZER.decode(ids) for ids in documents]
    copies: list[Copied] = longest_shared([steps(one) for one in played], known)
    return Written(tuple(documents), tuple(statistics(one) for one in played), Sharing(tuple(copies)))
