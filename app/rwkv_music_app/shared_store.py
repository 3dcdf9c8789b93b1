"""Sessions in a folder that several processes have: one at a time changes a session, and nobody goes on from an old one.

Beside each session lies a lock of the operating system's, which is free again as soon as its process is lost. What is in
memory counts only while the file beside the session is the one it was read from.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from filelock import FileLock, Timeout

from rwkv_music_app.batcher import PATIENCE
from rwkv_music_app.errors import GrowingError, growing
from rwkv_music_app.sitting import Sitting
from rwkv_music_app.store import NAME, SessionStore

# Seconds between two looks whether somebody wants a session to be stopped, and whether it has.
WATCHING = 0.1
# Seconds for which a lock is waited for: whoever only writes has done so by then.
WRITING = 0.5
# A file as it was written once: where it is on the disk, when, and how long.
Stamp: TypeAlias = tuple[int, int, int]


class ChangedError(GrowingError):
    """Another process has changed the session since it was read here."""


class SharedStore(SessionStore):
    """A `SessionStore` whose folder other processes use at the same time, each through a `SharedStore`."""

    def __init__(self, *args: Any, **budgets: Any):
        """As `SessionStore` does. Raises OSError."""
        super().__init__(*args, **budgets)
        # Of sessions in memory, what their files were when they were read or written here.
        self._stamps: WeakKeyDictionary[Sitting, Stamp | None] = WeakKeyDictionary()
        # Sessions that change here, by their names.
        self._held: dict[str, FileLock] = {}
        # What stops those that grow, by the files whose presence asks for it.
        self._stops: dict[Path, Callable[[], None]] = {}
        self._watching = False

    def of_folder(self, owner: str, name: str) -> Sitting:
        """A session as it is now, whoever wrote it. Raises like `SessionStore.of_folder`."""
        with self._lock:
            sitting = self._sittings.get(name)
            if sitting is not None and name not in self._held and self._is_old(sitting):
                del self._sittings[name]
            return super().of_folder(owner, name)

    def hold(self, sitting: Sitting, stop: Callable[[], None]) -> None:
        """Nobody else can change a session until `release`. Raises GrowingError where somebody does, or did since it was read."""
        self._lock_it(sitting)
        asks = self._beside(sitting, ".stop")
        asks.unlink(missing_ok=True)
        with self._lock:
            self._stops[asks] = stop
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="rwkv-music-stops", daemon=True).start()

    def release(self, sitting: Sitting) -> None:
        """Others may change it now."""
        with self._lock:
            del self._stops[self._beside(sitting, ".stop")]
        self._held.pop(sitting.name).release()

    def stop_elsewhere(self, sitting: Sitting) -> None:
        """Ask whoever lets a session grow to stop; returns when what was made is written. Raises GrowingError where it is not."""
        until = time.monotonic() + PATIENCE
        while self._is_growing(sitting.owner, sitting.name):
            if time.monotonic() > until:
                raise GrowingError("this piece is being composed, and could not be stopped: try again")
            if sitting.name not in self._held:
                self._beside(sitting, ".stop").touch(mode=0o600)
            time.sleep(WATCHING)

    def keep(self, sitting: Sitting) -> None:
        """Write a session to disk. Raises OSError, and GrowingError where somebody else changes it, or did since it was read."""
        with sitting.lock, self._changing(sitting):
            super().keep(sitting)
            self._stamps[sitting] = _stamp(self._beside(sitting, ".json"))

    @contextmanager
    def _changing(self, sitting: Sitting) -> Iterator[None]:
        if sitting.name in self._held:
            yield
            return
        self._lock_it(sitting)
        try:
            yield
        finally:
            self._held.pop(sitting.name).release()

    def _lock_it(self, sitting: Sitting) -> None:
        """Raises GrowingError; what is in memory counts no more then."""
        path = self._beside(sitting, ".lock")
        path.parent.mkdir(exist_ok=True, mode=0o700)
        lock = FileLock(path, timeout=WRITING, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            self._let_out(sitting)
            raise growing() from None
        if self._is_old(sitting):
            lock.release()
            self._let_out(sitting)
            raise ChangedError("this piece has been changed at the same time: try again")
        self._held[sitting.name] = lock

    def _let_out(self, sitting: Sitting) -> None:
        with self._lock:
            self._sittings.pop(sitting.name, None)

    def _is_old(self, sitting: Sitting) -> bool:
        return _stamp(self._beside(sitting, ".json")) != self._stamps.get(sitting)

    def _is_growing(self, owner: str, name: str) -> bool:
        if name in self._held:
            return True
        path = self.folder / owner / f"{name}.lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0, mode=0o600):
                return False
        except Timeout:
            return True

    def _read(self, owner: str, name: str) -> Sitting:
        # Before the session: what is written meanwhile makes it an old one.
        stamp = _stamp(self.folder / owner / f"{name}.json") if NAME.fullmatch(name) else None
        sitting = super()._read(owner, name)
        self._stamps[sitting] = stamp
        return sitting

    def _remove(self, stem: Path) -> None:
        super()._remove(stem)
        for suffix in (".lock", ".stop"):
            stem.with_suffix(suffix).unlink(missing_ok=True)

    def _beside(self, sitting: Sitting, suffix: str) -> Path:
        return self.file(sitting).with_suffix(suffix)

    def _watch(self) -> None:
        """Stop what somebody else wants to be stopped, as long as anything grows."""
        while True:
            time.sleep(WATCHING)
            with self._lock:
                if not self._stops:
                    self._watching = False
                    return
                wanted = [(path, stop) for path, stop in self._stops.items() if path.exists()]
            for path, stop in wanted:
                path.unlink(missing_ok=True)
                stop()


def _stamp(path: Path) -> Stamp | None:
    """None where there is no file."""
    try:
        # Opened, not only looked at: a network's file system asks its server then.
        with path.open("rb") as file:
            told = os.fstat(file.fileno())
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size
