"""What a model learns from: numbered documents of ids, each of which can be read in another key, tempo or loudness."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

# The ids of a document, (n,) int64, in a key, tempo and loudness that the generator chooses.
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Documents(Protocol):
    """Documents by number; each begins and ends with the ids of its code that say so."""

    @property
    def lengths(self) -> np.ndarray:
        """(D,) int64: the ids of each document as it is kept, begin and end counted."""
        ...

    @property
    def sources(self) -> np.ndarray:
        """(D,) of str: which collection each document came from."""
        ...

    def read(self, index: int, draw: np.random.Generator | None = None) -> np.ndarray:
        """The ids of one document, (n,) int64; with `draw`, in a key, tempo and loudness that it chooses.

        A pure function of the generator. n is `lengths[index]` without `draw`; with it, ABC may become a little longer
        or shorter, as another key needs other accidentals, and twice as long where it is read twice. Raises IndexError
        for a number that there is not.
        """
        ...


class Listed:
    """Documents in memory, for tests and small sets."""

    def __init__(
        self, documents: Sequence[np.ndarray], sources: Sequence[str] = (), augment: Augment | None = None
    ) -> None:
        """`documents`: each (n,) of integers; `sources`: of each document, empty for one nameless source."""
        self._documents = documents
        self._augment = augment
        self.lengths = np.array([len(ids) for ids in documents], dtype=np.int64)
        self.sources = np.array(list(sources) or [""] * len(documents), dtype=np.str_)

    def read(self, index: int, draw: np.random.Generator | None = None) -> np.ndarray:
        """See `Documents`."""
        ids = np.asarray(self._documents[index], dtype=np.int64)
        return ids if draw is None or self._augment is None else self._augment(ids, draw)
