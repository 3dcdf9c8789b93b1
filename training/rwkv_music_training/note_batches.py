"""Which windows of which MIDI documents, in which keys, make the batch of a step: a pure function of seed and step."""

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import PAD, transposition
from rwkv_music_training.batches import Batch, even_pieces, mixed_by_length, pad
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.judging.tiles import BEGIN, END, Windows, source_quotas
from rwkv_music_training.note_corpus import NoteCorpus

# Half of the octave down, the rest up.
SHIFTS = tuple(shift for shift in range(-6, 6) if shift)


class NoteBatches:
    """The batches of a run. In an epoch of evenly read sources every window is seen once, cut anew in each epoch."""

    def __init__(self, corpus: NoteCorpus, config: TrainingConfig):
        self._windows = Windows(corpus, config.max_length)
        self._config = config
        self._quotas = source_quotas(corpus, config.source_power)
        self.per_epoch = max(1, round(len(corpus.ids) / config.tokens_per_batch))
        self._epoch: tuple[int, np.ndarray, list[np.ndarray], np.ndarray] | None = None

    def at(self, step: int) -> list[Batch]:
        """The batch of a global step, counted from 0, in at most `config.pieces` pieces of about the same work."""
        windows, draws = self.members(step)
        documents = sorted((self._document(*both) for both in zip(windows, draws, strict=True)), key=len)
        return [pad(piece) for piece in even_pieces(documents, self._config.pieces)]

    def members(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The windows in the batch of a step, and the two draws that choose the key of each."""
        epoch, place = divmod(step, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, *self._plan(epoch))
        _, windows, groups, draws = self._epoch
        return windows[groups[place]], draws[groups[place]]

    def _plan(self, epoch: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Windows, groups of their indices in order, and two uniform draws for each."""
        chosen = [self._of_source(source, quota, epoch) for source, quota in enumerate(self._quotas)]
        windows = np.concatenate(chosen)
        random = np.random.default_rng([self._config.seed, epoch])
        draws = random.random((len(windows), 2))
        lengths = self._windows.lengths(windows)
        return windows, mixed_by_length(lengths, self.per_epoch, self._config.length_jitter, random), draws

    def _of_source(self, source: int, quota: float, epoch: int) -> np.ndarray:
        """Windows of one source, cut and shuffled anew in every round, until the quota of tokens is full."""
        chosen: list[np.ndarray] = []
        numbers = np.flatnonzero(self._windows.corpus.source == source)
        held, turn = 0, 0
        while held < round(quota):
            random = np.random.default_rng([self._config.seed, epoch, source, turn])
            phases = 1 - random.random(len(numbers))
            cut = [self._windows.of(int(number), phase) for number, phase in zip(numbers, phases, strict=True)]
            windows = random.permutation(np.concatenate(cut))
            filled = held + np.cumsum(windows[:, END] - windows[:, BEGIN])
            chosen.append(windows[: int(np.searchsorted(filled, round(quota))) + 1])
            held, turn = int(filled[-1]), turn + 1
        return np.concatenate(chosen)

    def _document(self, window: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """The ids of one window in the key that its two draws choose: whether to transpose, and where to."""
        ids = self._windows.ids(window)
        if draws[0] < self._config.untransposed:
            return ids
        moved = transposition(SHIFTS[int(draws[1] * len(SHIFTS))])[ids]
        # A pitch that would leave the keyboard becomes the padding; then the key stays.
        return ids if (moved == PAD).any() else moved
