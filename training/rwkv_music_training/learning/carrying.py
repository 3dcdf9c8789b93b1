"""Long documents read window by window in consecutive steps, the state carried from one to the next."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch

from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.learning.config import Data
from rwkv_music_training.learning.cutting import Cutting
from rwkv_music_training.learning.order import Order, Windows
from rwkv_music_training.learning.packing import Batch, Batches, Lanes, Packed, drawn


class Line:
    """Documents one behind the other on a line of positions, cut into lanes of equal length, and those into rows.

    A lane that begins inside a document begins it there. A document that reads longer than the line has room for is cut, a
    shorter one filled up with what does not count.
    """

    def __init__(self, documents: Windows, read: Callable[[int, int], np.ndarray], lanes: int, row: int):
        """documents: whole ones in their order; read: the ids of one by number and cycle; row: positions of a row."""
        self._documents = documents
        self._read = read
        self._starts = np.concatenate([[0], np.cumsum(documents.positions)])
        self._row = row
        # Rows of each lane.
        self.rows = -(-int(self._starts[-1]) // (lanes * row))

    def at(self, place: int, lanes: Sequence[int], number: int = 0, rows: int | None = None) -> Batch:
        """Row `place` of some lanes side by side; `rows`: of each lane, where it is not as many as the line needs."""
        ids, targets = np.zeros((2, 1, len(lanes) * self._row), dtype=np.int64)
        counted = np.zeros(ids.shape, dtype=bool)
        cuts, members, first, last, goes_on = [], [], [], [], []
        for side, lane in enumerate(lanes):
            at = (lane * (rows or self.rows) + place) * self._row
            parts = self._parts(at)
            first.append(len(cuts))
            goes_on.append(place > 0 and parts[0][1] > 0)
            for begin, _, document, part in parts:
                here = side * self._row + begin
                cuts.append(here)
                members.append(document)
                filled = slice(here, here + max(0, len(part) - 1))
                ids[0, filled], targets[0, filled], counted[0, filled] = part[:-1], part[1:], True
            last.append(len(cuts) - 1)
        told = (torch.tensor(each) for each in (list(lanes), first, last, goes_on))
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(targets),
            torch.from_numpy(counted),
            torch.tensor([*cuts, ids.shape[1]]),
            torch.tensor(members),
            number,
            Lanes(*told),
        )

    def _parts(self, at: int) -> list[tuple[int, int, int, np.ndarray]]:
        """What lies on the row that begins at a position: where in the row, where in the document, which, and the ids."""
        first = int(np.searchsorted(self._starts, at, "right")) - 1
        beyond = int(np.searchsorted(self._starts, at + self._row))
        parts = []
        for place in range(first, min(beyond, len(self._documents))):
            begin = max(at, int(self._starts[place]))
            end = min(at + self._row, int(self._starts[place + 1]))
            offset = begin - int(self._starts[place])
            document = int(self._documents.document[place])
            ids = self._read(document, int(self._documents.cycle[place]))
            parts.append((begin - at, offset, document, ids[offset : offset + end - begin + 1]))
        return parts or [(0, 0, -1, np.zeros(0, dtype=np.int64))]


class Carried:
    """The batches of a run whose lanes go through whole documents; see `Line`. Every epoch is a line of its own."""

    def __init__(self, documents: Documents, data: Data, seed: int):
        """Raises ValueError where there is nothing to read."""
        self._data = data
        self._order = Order(documents.lengths, documents.sources, seed, data.source_power)
        self._lanes = data.tokens_per_step // data.window
        # A long document is read in many steps.
        self._read = lru_cache(maxsize=4 * self._lanes)(lambda document, cycle: drawn(documents, document, cycle, seed))
        self._epoch = (0, self._line(0))
        # With uneven sources epochs differ a little in length: what is over is left out, what lacks filled up.
        self.per_epoch = self._epoch[1].rows

    def _line(self, epoch: int) -> Line:
        return Line(self._order.whole(epoch), self._read, self._lanes, self._data.window)

    def at(self, step: int, process: int = 0, processes: int = 1) -> list[Batch]:
        """See `Batches`."""
        epoch, place = divmod(step, self.per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._line(epoch))
        each = self._lanes // self._data.pieces
        return [
            self._epoch[1].at(place, range(piece * each, (piece + 1) * each), piece, self.per_epoch)
            for piece in range(process, self._data.pieces, processes)
        ]


def batches_of(documents: Documents, data: Data, seed: int, cutting: Cutting) -> Batches:
    """The batches that the configuration asks for. Raises ValueError where there is nothing to read."""
    return Carried(documents, data, seed) if data.carry else Packed(documents, data, seed, cutting)
