"""The micro-batches of a step: documents one behind the other in a row, the states begun anew at each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.learning.config import Data
from rwkv_music_training.learning.cutting import Anywhere, Cutting
from rwkv_music_training.learning.order import Order, Windows, even_cuts

# Rows are filled up to a multiple of this: the kernels keep the state every 16 tokens.
LENGTH_MULTIPLE = 16


@dataclass(frozen=True)
class Lanes:
    """Which documents of a row go on from the row before, and which the next one goes on with; K lanes."""

    # Which lanes of the run these are, (K,) int64.
    numbers: Tensor
    # The first and the last document of each lane in this row, (K,) int64 in 0..S-1.
    first: Tensor
    last: Tensor
    # Whether the first one goes on, (K,) bool; else it begins here.
    goes_on: Tensor


@dataclass(frozen=True)
class Batch:
    """S documents (or parts of such) one behind the other in one row of T positions; states begin anew at each.

    ids, targets: (1, T) int64, targets one ahead; counted: (1, T) bool, false on what only fills up; cu_seqlens: (S + 1,)
    int64, where each begins, and T.
    """

    ids: Tensor
    targets: Tensor
    counted: Tensor
    cu_seqlens: Tensor
    # The number of each document, (S,) int64; -1 for what only fills up.
    members: Tensor
    # The number of this micro-batch in its step; dropout depends on it.
    number: int = 0
    # Where the state is carried on.
    lanes: Lanes | None = None
    # Whether the first document began on the process before, which hands its state on (context parallelism).
    continues: bool = False

    @property
    def documents(self) -> int:
        """S."""
        return len(self.cu_seqlens) - 1

    @property
    def tokens(self) -> int:
        """Positions that count in the loss."""
        return int(self.counted.sum())

    def to(self, device: torch.device | str) -> "Batch":
        """The same on a device."""
        lanes = self.lanes and Lanes(*(getattr(self.lanes, field.name).to(device) for field in fields(Lanes)))
        return Batch(
            self.ids.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.counted.to(device, non_blocking=True),
            self.cu_seqlens.to(device, non_blocking=True),
            self.members.to(device, non_blocking=True),
            self.number,
            lanes,
            self.continues,
        )


def pack(documents: Sequence[np.ndarray], members: Sequence[int] = (), number: int = 0) -> Batch:
    """Documents of ids, each (n,) with n >= 2, as one row; what fills it up is a document of its own."""
    members = members or range(len(documents))
    lengths = np.array([len(ids) - 1 for ids in documents], dtype=np.int64)
    ends = np.cumsum(lengths)
    total = max(LENGTH_MULTIPLE, -(-int(lengths.sum()) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE)
    ids = np.zeros((1, total), dtype=np.int64)
    targets, counted = np.zeros_like(ids), np.zeros((1, total), dtype=bool)
    for document, end in zip(documents, ends, strict=True):
        row = slice(end - len(document) + 1, end)
        ids[0, row], targets[0, row], counted[0, row] = document[:-1], document[1:], True
    filled = [total] if not len(ends) or ends[-1] < total else []
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(targets),
        torch.from_numpy(counted),
        torch.tensor([0, *ends.tolist(), *filled]),
        torch.tensor([*members, *(-1 for _ in filled)], dtype=torch.int64),
        number,
    )


class Batches(Protocol):
    """The micro-batches of a run, a function of the global step; `per_epoch` steps go once through the music."""

    per_epoch: int

    def at(self, step: int, process: int = 0, processes: int = 1) -> list[Batch]:
        """What one of several processes has of a step, counted from 0: every process as many micro-batches."""
        ...


class Packed:
    """Documents and windows of documents, packed: every step holds about as many positions, each piece too."""

    def __init__(self, documents: Documents, data: Data, seed: int, cutting: Cutting | None = None):
        """Raises ValueError where there is nothing to read."""
        self._documents = documents
        self._data = data
        self._seed = seed
        self._cutting = cutting or Anywhere()
        self._order = Order(documents.lengths, documents.sources, seed, data.source_power)
        self.per_epoch = max(1, round(int(self._order.whole(0).positions.sum()) / data.tokens_per_step))
        self._epoch: tuple[int, Windows, np.ndarray] | None = None

    def members(self, step: int) -> Windows:
        """The windows of a step in their order."""
        epoch, place = divmod(step, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            windows = self._order.windows(epoch, self._data.window)
            self._epoch = (epoch, windows, even_cuts(windows.positions, self.per_epoch))
        _, windows, cuts = self._epoch
        return windows[cuts[place] : cuts[place + 1]]

    def at(self, step: int, process: int = 0, processes: int = 1) -> list[Batch]:
        """See `Batches`."""
        windows = self.members(step)
        cuts = even_cuts(windows.positions, self._data.pieces)
        batches = []
        for piece in range(process, self._data.pieces, processes):
            places = range(cuts[piece], cuts[piece + 1])
            parts = [(self._part(windows, place), int(windows.document[place])) for place in places]
            parts = [part for part in parts if len(part[0]) > 1]
            batches.append(pack([ids for ids, _ in parts], [document for _, document in parts], piece))
        return batches

    def _part(self, windows: Windows, place: int) -> np.ndarray:
        """The ids of one window. A bar that is much too long is cut, as memory is finite."""
        document, cycle = int(windows.document[place]), int(windows.cycle[place])
        ids = drawn(self._documents, document, cycle, self._seed)
        begin, end = int(windows.begin[place]), int(windows.end[place])
        if begin == 0 and end >= self._documents.lengths[document]:
            return ids[: 2 * self._data.window]
        last = len(ids) if end >= self._documents.lengths[document] else end
        return self._cutting.cut(ids, begin, last)[: 2 * self._data.window]


def drawn(documents: Documents, document: int, cycle: int, seed: int) -> np.ndarray:
    """The ids of a document in the key, tempo and loudness of this cycle: (n,) int64."""
    return documents.read(document, np.random.default_rng([seed, cycle, document]))
