"""Reading validation documents while training: mean nats a position, whole documents at constant memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from rwkv_music.model.state import State
from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.learning.carrying import Line
from rwkv_music_training.learning.order import Windows, key_of, shuffled
from rwkv_music_training.learning.packing import Batch

# Positions of a row: enough to keep the matrix products busy, few enough for the logits of a large vocabulary.
ROW = 1024
# A micro-batch and what its lanes remember; the nats of every position (T,), and what they remember after it.
Costs = Callable[[Batch, State | None], tuple[torch.Tensor, State | None]]


def _whole(documents: np.ndarray, lengths: np.ndarray) -> Windows:
    """Documents as windows that hold all of each."""
    zeros = np.zeros_like(documents)
    return Windows(documents, zeros, zeros, lengths)


def _dealt(lengths: np.ndarray, lanes: int) -> list[np.ndarray]:
    """The places of documents of some lengths, in their order, in lanes of about as many positions; none is empty.

    Each document is in one lane from its beginning to its end: where it is cut, it would be read without what came before.
    """
    filled = np.zeros(min(lanes, len(lengths)), dtype=np.int64)
    lane_of = np.empty(len(lengths), dtype=np.int64)
    for place in np.argsort(-lengths, kind="stable"):
        lane_of[place] = np.argmin(filled)
        filled[lane_of[place]] += lengths[place]
    return [np.flatnonzero(lane_of == lane) for lane in range(len(filled))]


@dataclass(frozen=True)
class Counted:
    """Nats and positions of the documents of each source, (sources,) float64 both."""

    names: tuple[str, ...]
    nats: np.ndarray
    positions: np.ndarray


class Readings:
    """The validation documents of a run, always the same ones, in lanes that processes and threads share."""

    def __init__(self, documents: Documents, positions: int, lanes: int):
        """As many documents, chosen once and for all, as make up about `positions`; all, where there are fewer."""
        order = shuffled(np.arange(len(documents.lengths)), len(documents.lengths), key_of(0))
        order = order[documents.lengths[order] > 1]
        lengths = documents.lengths[order]
        chosen = max(1, int(np.searchsorted(np.cumsum(lengths - 1), positions, "right")))
        order, lengths = order[:chosen], lengths[:chosen]
        self.empty = not len(order)
        self._sources, self._source = np.unique(documents.sources, return_inverse=True)
        self._lines = [
            Line(_whole(order[own], lengths[own]), lambda document, cycle: documents.read(document), 1, ROW)
            for own in _dealt(lengths, lanes)
        ]

    @torch.no_grad()
    def read(self, costs: Costs, device: torch.device, reader: int, readers: int, threads: int) -> Counted:
        """What one of several processes has of it; the sums over all are the reading."""
        nats, positions = np.zeros((2, len(self._sources)))

        def of_lane(lane: int) -> tuple[np.ndarray, np.ndarray]:
            return self._lane(lane, costs, device)

        own = range(reader, len(self._lines), readers)
        if threads > 1:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
                found = list(workers.map(of_lane, own))
        else:
            found = [of_lane(lane) for lane in own]
        for lane_nats, lane_positions in found:
            nats += lane_nats
            positions += lane_positions
        return Counted(tuple(str(name) for name in self._sources), nats, positions)

    @torch.no_grad()
    def _lane(self, lane: int, costs: Costs, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
        nats, positions = np.zeros((2, len(self._sources)))
        state = None
        for place in range(self._lines[lane].rows):
            batch = self._lines[lane].at(place, [0]).to(device)
            each, state = costs(batch, state)
            ends = batch.cu_seqlens
            owner = torch.repeat_interleave(batch.members, ends.diff()).cpu().numpy()
            counted = batch.counted[0].cpu().numpy()
            sources = self._source[owner[counted]]
            nats += np.bincount(sources, each.double().cpu().numpy()[counted], len(nats))
            positions += np.bincount(sources, minlength=len(nats))
        return nats, positions
