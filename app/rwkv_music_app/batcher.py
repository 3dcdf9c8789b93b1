"""One engine, many people: a thread that owns a pool of rows, in which takes grow a token each a step."""

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.making import Run
from rwkv_music.pool import SlotPool
from rwkv_music.session import Take

ROWS = 16
# Takes that may wait for a row.
MOST_WAITING = 256
# A thread that has ended its step has this long to notice that the studio closes.
PATIENCE = 10.0


class BusyError(UserError):
    """More people than the engine takes on."""


@dataclass(frozen=True)
class Event:
    """What happened to a take: "token", "bar", "back", "done", or "error" (`text` says which)."""

    kind: str
    take: int
    # As a person sees it.
    text: str = ""
    # Of a "token" the id; of "back", out of a dead end, how many tokens the take still has.
    number: int = 0


@dataclass(eq=False)
class Row:
    """A take that grows: its runs, one after the other, and bits by which its tokens surprised the model."""

    take: Take
    waiting: deque[Run]
    slot: int = -1
    # Of the tokens that came since the row began.
    bits: list[float] = field(default_factory=list)
    # For the next token.
    logits: Tensor | None = None

    @property
    def made(self) -> int:
        """Tokens that came since the row began."""
        return self.take.piece.length - self.take.after


class Job:
    """Takes that one person has asked for; it is over after as many "done" as takes.

    Whoever made it takes what happens out of `events`; `log` has all of it, for any number of readers.
    """

    def __init__(self, rows: Sequence[Row], settle: Callable[["Job"], None] | None = None):
        """settle: called in the batcher's thread when all rows are free; sets `settled`, in whatever thread, at last."""
        self.rows = tuple(rows)
        self.settle = settle
        self.settled = threading.Event()
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.log: list[Event] = []
        self.cancelled = threading.Event()
        self.over = threading.Event()

    def tell(self, event: Event) -> None:
        """Something happened."""
        self.log.append(event)
        self.events.put(event)

    def end(self) -> None:
        """All rows are free."""
        self.over.set()
        if self.settle is None:
            self.settled.set()
        else:
            self.settle(self)


class Batcher:
    """Rows join and leave between any two tokens; what else is in the pool changes no token of a take."""

    def __init__(self, engine: Engine, rows: int = ROWS):
        self.engine = engine
        self._pool = SlotPool(engine, rows)
        self._waiting: deque[tuple[Job, Row]] = deque()
        self._growing: list[tuple[Job, Row]] = []
        self._changed = threading.Condition()
        self._closing = False
        # Tokens that were made since the batcher began, for whoever measures.
        self.tokens = 0
        self._thread = threading.Thread(target=self._work, name="rwkv-music-batcher", daemon=True)
        self._thread.start()

    @property
    def works(self) -> bool:
        """It has not been closed, and no error has ended it."""
        return self._thread.is_alive()

    @property
    def rows(self) -> tuple[int, int]:
        """How many takes grow, and how many wait."""
        with self._changed:
            return len(self._growing), len(self._waiting)

    def grow(
        self, takes: Sequence[Take], runs: Sequence[Sequence[Run]], settle: Callable[[Job], None] | None = None
    ) -> Job:
        """Carry each take on by its runs; for `settle` see `Job`. Raises BusyError when too many wait already."""
        job = Job([Row(take, deque(own)) for take, own in zip(takes, runs, strict=True)], settle)
        with self._changed:
            if self._closing or len(self._waiting) + len(job.rows) > MOST_WAITING:
                raise BusyError("too many people are composing at this moment: try again in a minute")
            self._waiting.extend((job, row) for row in job.rows)
            self._changed.notify()
        return job

    def cancel(self, job: Job, patience: float = PATIENCE) -> None:
        """Stop a job before its next token; returns when its rows are free and what was made is whole."""
        job.cancelled.set()
        with self._changed:
            self._changed.notify()
        job.over.wait(patience)

    def close(self) -> None:
        """Stop everything, and the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        try:
            while self._wait():
                self._step()
        finally:
            # Also where a step failed: nobody is left waiting.
            with self._changed:
                self._closing = True
                self._leave_all()

    def _wait(self) -> bool:
        """Rows are there to be moved on; False where the batcher closes."""
        with self._changed:
            while not (self._waiting or self._growing or self._closing):
                self._changed.wait()
            if not self._closing:
                self._drop_stopped()
                self._join()
            return not self._closing

    def _drop_stopped(self) -> None:
        """Those who wait for nothing any more are done without a row, of which there may be none for long."""
        stopped = [(job, row) for job, row in self._waiting if job.cancelled.is_set()]
        for job, row in stopped:
            self._waiting.remove((job, row))
            self._done(job, row)

    def _join(self) -> None:
        """Those who wait take free rows, in the order they came."""
        while self._waiting and self._pool.free:
            job, row = self._waiting.popleft()
            piece = row.take.piece
            row.logits = piece.memory.logits
            row.slot = self._pool.admit(piece.memory.state, 0, piece.sampler)
            self._growing.append((job, row))
            try:
                if row.waiting and not job.cancelled.is_set():
                    piece.start(row.waiting.popleft())
                else:
                    self._leave(job, row)
            except UserError as error:
                job.tell(Event("error", row.take.number, str(error)))
                self._leave(job, row)

    def _step(self) -> None:
        """Every row that grows draws a token, and the model reads them all at once."""
        chosen: list[tuple[Job, Row, int]] = []
        for job, row in list(self._growing):
            try:
                token = (
                    None
                    if job.cancelled.is_set()
                    else _chosen(row, lambda job=job, row=row: self._turned_back(job, row))
                )
            except UserError as error:
                job.tell(Event("error", row.take.number, str(error)))
                token = None
            if token is None:
                row.take.piece.finish()
                self._leave(job, row)
            else:
                chosen.append((job, row, token))
        read = self._pool.read({row.slot: token for _, row, token in chosen})
        self.tokens += len(chosen)
        for job, row, token in chosen:
            self._follow(job, row, token, read[row.slot])

    def _follow(self, job: Job, row: Row, token: int, logits: Tensor) -> None:
        """A row's model has read its token."""
        piece = row.take.piece
        row.bits.append(_bits(row.logits, token))
        row.logits = logits
        bars = len(piece.moments)
        piece.take(token, logits, self._pool.state_of(row.slot))
        job.tell(Event("token", row.take.number, piece.manuscript.shown(token), token))
        if len(piece.moments) > bars:
            job.tell(Event("bar", row.take.number))

    def _turned_back(self, job: Job, row: Row) -> None:
        """The piece went back out of a dead end: the pool follows."""
        memory = row.take.piece.memory
        del row.bits[row.made :]
        row.logits = memory.logits
        self._pool.put_state(row.slot, memory.state)
        job.tell(Event("back", row.take.number, number=row.take.piece.length))

    def _leave(self, job: Job, row: Row) -> None:
        """A row is free; the take's piece stays as it is."""
        self._pool.release(row.slot)
        with self._changed:
            self._growing.remove((job, row))
        self._done(job, row)

    def _done(self, job: Job, row: Row) -> None:
        """A row neither grows nor waits any more."""
        job.tell(Event("done", row.take.number))
        if not any(other is job for other, _ in (*self._growing, *self._waiting)):
            job.end()

    def _leave_all(self) -> None:
        for job, row in list(self._growing):
            # One that could not even start has no run that ends.
            if row.take.piece.stretches:
                row.take.piece.finish()
            self._leave(job, row)
        while self._waiting:
            self._done(*self._waiting.popleft())


def _chosen(row: Row, turned_back: Callable[[], None]) -> int | None:
    """The next token of a row, of its next run where one is over; None when all are. Raises SamplingError."""
    piece = row.take.piece
    while True:
        before = piece.length
        token = piece.choose()
        if piece.length != before:
            turned_back()
        if token is not None:
            return token
        if not row.waiting:
            return None
        piece.finish()
        piece.start(row.waiting.popleft())


def _bits(logits: Tensor | None, token: int) -> float:
    """By how much a token surprises: -log2 of its probability before any setting."""
    if logits is None:
        return 0.0
    odds = logits.detach().to("cpu", torch.float64).numpy()
    top = odds.max()
    return float((top - odds[token] + math.log(np.exp(odds - top).sum())) / math.log(2))
