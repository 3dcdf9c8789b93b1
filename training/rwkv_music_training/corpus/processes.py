"""Files worked on in processes of their own: one that hangs or breaks its process is lost, and nothing else.

Files go to a process some at a time, and it tells when it is done with each. When it breaks or takes too long, the file
that it was at is left out, and the others are tried again.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.items import MUSICXML, Item, LeftOut, printable
from rwkv_music_training.corpus.preparing import Preparation, Prepared, prepare

Outcome = Prepared | LeftOut
# Files and bytes that go to a process together; MusicXML is slow to read and goes by itself.
FILES, BYTES = 64, 1 << 20
# A fresh interpreter: a fork would copy the locks of this process's threads.
START = "spawn"
# What a process says before its first result, and for how long it may take to say so; and what after every file.
READY, STARTING = "ready", 120.0
READ = "read"
# Address space of a process, in bytes, where the system can bound it.
MEMORY = 8 << 30
# Of what a process said before it broke.
MOST_WORDS = 200


class Workers:
    """Some processes, to be used in a `with`; a file may take `seconds`."""

    def __init__(self, how: Preparation, processes: int = 2, seconds: float = 20.0):
        self._folder = tempfile.TemporaryDirectory(prefix="rwkv-music-", ignore_cleanup_errors=True)
        errors = [Path(self._folder.name) / f"{number}.err" for number in range(processes)]
        self._workers = [_Worker(how, seconds, path) for path in errors]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop the processes."""
        for worker in self._workers:
            worker.end()
        self._folder.cleanup()

    def prepare(self, files: Iterable[Item | LeftOut]) -> Iterator[list[Outcome]]:
        """What becomes of each file, as `prepare` says, some at a time in the order in which they are done.

        Raises CorpusError when no process can be started.
        """
        incoming = _batches(files)
        waiting = deque[list[Item]]()
        while True:
            for worker in self._workers:
                while not worker.batch:
                    batch = waiting.popleft() if waiting else next(incoming, None)
                    if batch is None:
                        break
                    left = [one for one in batch if isinstance(one, LeftOut)]
                    if left:
                        yield [*left]
                    worker.take([one for one in batch if isinstance(one, Item)])
            busy = [worker for worker in self._workers if worker.batch]
            if not busy:
                return
            soon = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            wait([worker.pipe for worker in busy], soon)
            for worker in busy:
                done, again = worker.result()
                waiting.extend(again)
                if done:
                    yield done


def _batches(files: Iterable[Item | LeftOut]) -> Iterator[Sequence[Item | LeftOut]]:
    batch: list[Item | LeftOut] = []
    held = 0
    for file in files:
        if isinstance(file, Item) and file.form == MUSICXML:
            yield [file]
            continue
        batch.append(file)
        held += len(file.content) if isinstance(file, Item) else 0
        if len(batch) == FILES or held >= BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


class _Worker:
    """One process at a time, and the files that it works on."""

    def __init__(self, how: Preparation, seconds: float, errors: Path):
        self._how = how
        self._errors = errors
        self._seconds = seconds
        self._process: BaseProcess | None = None
        self.batch: list[Item] = []
        self.deadline = 0.0

    def _start(self) -> None:
        context = get_context(START)
        self._ready = False
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._how, str(self._errors)), daemon=True)
        self._process.start()
        theirs.close()

    def take(self, batch: list[Item]) -> None:
        """Begin with some files, if there are any."""
        self.batch = batch
        if not batch:
            return
        if self._process is None:
            self._start()
        # How many of them have been read.
        self._read = 0
        self.deadline = time.monotonic() + (self._seconds if self._ready else STARTING)
        # A process that is no more is met when its result is asked for.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(batch)

    def result(self) -> tuple[list[Outcome], list[list[Item]]]:
        """What became of the files, and those that are to be tried again; nothing while the process is at work."""
        while self.pipe.poll():
            try:
                told = self.pipe.recv()
            except (EOFError, OSError):
                return self._lost(items.BROKE_THE_PARSER, self._last_words())
            if told not in (READY, READ):
                self.batch = []
                return told, []
            self._ready = True
            self._read += told == READ
            self.deadline = time.monotonic() + self._seconds
        if time.monotonic() >= self.deadline:
            return self._lost(items.TOOK_TOO_LONG, f"more than {self._seconds:g} s")
        return [], []

    def _last_words(self) -> str:
        assert self._process is not None, "somebody must have said them"
        self._process.join()
        lines = self._errors.read_text(errors="replace").splitlines() if self._errors.exists() else []
        said = next((line for line in reversed(lines) if line.strip()), "")
        return printable(said.strip()[:MOST_WORDS]) or f"exit code {self._process.exitcode}"

    def _lost(self, reason: str, detail: str) -> tuple[list[Outcome], list[list[Item]]]:
        """Leave out the file that is to blame; the next batch gets a new process."""
        if not self._ready:
            raise CorpusError(f"the processes that read music do not start ({detail})")
        batch, self.batch = self.batch, []
        self.end()
        if self._read == len(batch) > 1:
            # All were read: which of them cannot be finished is found by one after another.
            return [], [[item] for item in batch]
        blamed = min(self._read, len(batch) - 1)
        rest = batch[:blamed] + batch[blamed + 1 :]
        return [batch[blamed].left_out(reason, detail)], [rest] if rest else []

    def end(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self.pipe.close()
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe: Connection, how: Preparation, errors: str) -> None:
    """Say that all is there, then work on what comes until the other end closes."""
    with open(errors, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    _bound_memory()
    pipe.send(READY)
    while True:
        try:
            batch = pipe.recv()
        except EOFError:
            return
        pipe.send(prepare(batch, how, lambda: pipe.send(READ)))


def _bound_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bound = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (bound, most))
