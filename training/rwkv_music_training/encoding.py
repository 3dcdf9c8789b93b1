"""MIDI files encoded in processes of their own: a file that hangs or breaks a parser costs that one file."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Generic, Literal, TypeVar

import numpy as np

from rwkv_music_training.corpus.tunes import CorpusError

Clock = Literal["auto", "grid", "perf"]
Label = TypeVar("Label")
# A file that takes longer is left out; starting a process takes a second of its own.
SECONDS = 20.0
# A fresh interpreter: a fork would copy the locks of torch's threads.
START = "spawn"
# What a process says before its first result.
READY = "ready"


@dataclass(frozen=True)
class Encoded:
    """One file as a document of ids."""

    # (n,) uint16.
    ids: np.ndarray
    notes: int
    seconds: float


def encode_midi(content: bytes, clock: Clock) -> Encoded | str:
    """The document of one MIDI file, or why there is none."""
    from symusic import Score

    from rwkv_music_tokenizers.note_options import NoteOptions
    from rwkv_music_tokenizers.note_tokens import NoteTokenizer
    from rwkv_music_tokenizers.symusic_scores import from_symusic

    try:
        performance = from_symusic(Score.from_midi(content))
        ids = NoteTokenizer().encode(performance, NoteOptions(clock=clock))
    except (RuntimeError, ValueError, OverflowError, MemoryError):
        return "not readable as MIDI"
    seconds = float(performance.seconds(np.array([performance.end]))[0])
    return Encoded(np.asarray(ids, dtype=np.uint16), performance.count, seconds)


def encode_all(
    contents: Iterable[tuple[Label, bytes]], clock: Clock, processes: int = 2, seconds: float = SECONDS
) -> Iterator[tuple[Label, Encoded | str]]:
    """Encode files in several processes; each comes with its label, in the order in which they are done.

    Raises CorpusError when no process can be started.
    """
    waiting = iter(contents)
    workers = [_Worker[Label](clock, seconds) for _ in range(processes)]
    try:
        for worker in workers:
            worker.take(waiting)
        while busy := [worker for worker in workers if worker.busy]:
            wait([worker.pipe for worker in busy], max(0.0, min(worker.deadline for worker in busy) - time.monotonic()))
            for worker in busy:
                result = worker.result()
                if result is not None:
                    yield worker.label, result
                    worker.take(waiting)
    finally:
        for worker in workers:
            worker.end()


class _Worker(Generic[Label]):
    """One process at a time, and the file that it works on."""

    label: Label

    def __init__(self, clock: Clock, seconds: float):
        self._clock = clock
        self._seconds = seconds
        self.busy = False
        self.deadline = 0.0
        self._start()

    def _start(self) -> None:
        context = get_context(START)
        self._ready = False
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._clock), daemon=True)
        self._process.start()
        theirs.close()

    def take(self, waiting: Iterator[tuple[Label, bytes]]) -> None:
        """Begin the next file, if there is one."""
        following = next(waiting, None)
        self.busy = following is not None
        if following is not None:
            self.label, content = following
            self.deadline = time.monotonic() + self._seconds
            self.pipe.send_bytes(content)

    def result(self) -> Encoded | str | None:
        """What became of the file; None while the process is at work."""
        if self.pipe.poll():
            try:
                told = self.pipe.recv()
            except (EOFError, OSError) as error:
                if not self._ready:
                    raise CorpusError("the processes that encode MIDI files do not start") from error
                return self._again("broke the parser")
            if self._ready:
                return told
            self._ready = True
            self.deadline = time.monotonic() + self._seconds
        if time.monotonic() >= self.deadline:
            return self._again("took too long")
        return None

    def _again(self, reason: str) -> str:
        """Go on with a new process."""
        self.end()
        self._start()
        return reason

    def end(self) -> None:
        """Stop the process."""
        self.pipe.close()
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, clock: Clock) -> None:
    """Say that all is there, then encode what comes until the other end closes."""
    pipe.send(READY)
    while True:
        try:
            content = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send(encode_midi(content, clock))
