"""Takes of a session that grow, and those that have grown told once more as they did."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence

from rwkv_music.session import Take
from rwkv_music_app.batcher import Event, Job, Row
from rwkv_music_app.sitting import Sitting


class Growth:
    """Takes of one session that grow, for whoever reads of it; when the last reader leaves, they are stopped."""

    def __init__(self, sitting: Sitting, job: Job):
        self.sitting = sitting
        self.job = job
        self.takes = [row.take for row in job.rows]
        self.numbers = [take.number for take in self.takes]
        self.errors: list[str] = []
        # Nothing grows any more; what was made may still be on its way to the disk.
        self.at_rest = threading.Event()
        self._turn = 0
        self._readers = 0
        self._lock = threading.Lock()

    @classmethod
    def over(cls, sitting: Sitting, takes: Sequence[Take]) -> "Growth":
        """That of takes which have grown, in which everything has happened already."""
        job = Job([Row(take, deque()) for take in takes])
        for take in takes:
            job.log += happened(take)
        job.end()
        growth = cls(sitting, job)
        growth.at_rest.set()
        return growth

    def enter(self) -> bool:
        """Somebody reads of it from now on, until `leave`; False where it was stopped, and there is nothing to wait for."""
        with self._lock:
            if self.job.cancelled.is_set():
                return False
            self._readers += 1
            return True

    def leave(self) -> None:
        """A reader leaves."""
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self.job.cancelled.set()

    def due(self, whole: bool) -> list[int]:
        """The takes to look at now: the one that is shown and the next of the others, or the whole of them."""
        if whole:
            return self.numbers
        current = self.sitting.session.current
        others = [number for number in self.numbers if number != current]
        self._turn += 1
        shown = [current] if current in self.numbers else []
        return [*shown, *(others[self._turn % len(others)] for _ in others[:1])]


def happened(take: Take) -> Iterator[Event]:
    """What happened while a take grew to its end by one run, going never back."""
    piece = take.piece
    lines = {moment.length - piece.prompt_length for moment in piece.moments}
    for length, token in enumerate(piece.made[take.after :], take.after + 1):
        yield Event("token", take.number, piece.manuscript.shown(token), token)
        if length in lines:
            yield Event("bar", take.number)
    yield Event("done", take.number)
