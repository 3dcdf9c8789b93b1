"""What people are making, by random names: in memory as far as a budget of bytes goes, on disk always, until it is old."""

import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.files import write_whole
from rwkv_music.session import Session
from rwkv_music.session_file import load_session, save_session
from rwkv_music_app.errors import growing
from rwkv_music_app.sitting import Sitting, asked_in, shared_in

SUFFIX = ".rwkvsession"
NAME = re.compile(r"[0-9a-f]{32}")
# Bytes of sessions in memory; those used least go to disk, from where they come back when they are asked for.
MEMORY = 512 << 20
# Seconds for which one that was asked for stays in memory, whoever else needs room: somebody may be changing it.
AT_HAND = 10.0
# Of those, states at the bar lines of one session; what it lets go of is made again when it is needed.
MEMORY_OF_ONE = 64 << 20
# Bytes of sessions on disk, and how many one person has: beyond that the oldest without a kept take go.
DISK = 4 << 30
MOST_OF_ONE = 100
# Seconds after which a session without a kept take is old.
TIME_TO_LIVE = 7 * 24 * 3600.0


class NoSessionError(UserError):
    """There is no such session, or it is somebody else's: nobody is told which."""


@dataclass(frozen=True)
class Told:
    """A session as a list of them tells of it."""

    name: str
    title: str
    takes: int
    kept: int
    touched: float


class SessionStore:
    """All sessions of all people. Every question names who asks."""

    def __init__(
        self,
        folder: Path,
        engine_of: Callable[[str], Engine],
        *,
        memory: int = MEMORY,
        disk: int = DISK,
        time_to_live: float = TIME_TO_LIVE,
        at_hand: float = AT_HAND,
    ):
        """engine_of: the engine of a model by its name. The folder is made. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._engine_of = engine_of
        self._memory, self._disk, self._time_to_live, self._at_hand = memory, disk, time_to_live, at_hand
        self._lock = threading.RLock()
        # In memory; the one used last stands last.
        self._sittings: dict[str, Sitting] = {}

    def __len__(self) -> int:
        """How many sessions are in memory."""
        return len(self._sittings)

    @property
    def on_disk(self) -> int:
        """How many sessions are on disk."""
        return sum(1 for _ in self.folder.glob("*/*" + SUFFIX))

    def add(self, owner: str, model: str, session: Session, name: str = "", begun_with: str = "") -> Sitting:
        """A new session of a person; name: one that nobody else can guess; begun_with: see `Sitting`. Raises OSError."""
        session.budget = MEMORY_OF_ONE
        sitting = Sitting(name or secrets.token_hex(16), hashed(owner), model, session, begun_with=begun_with)
        with self._lock:
            if name in self._sittings:
                return self.get(owner, name)
            self._sittings[sitting.name] = sitting
            self._forget_old(sitting.owner)
        self.keep(sitting)
        return sitting

    def get(self, owner: str, name: str) -> Sitting:
        """A person's session, from memory or from disk. Raises NoSessionError, SealedError for a damaged file, OSError."""
        return self.of_folder(hashed(owner), name)

    def of_folder(self, owner: str, name: str) -> Sitting:
        """The same by the hash of whose it is."""
        with self._lock:
            sitting = self._sittings.get(name) or self._read(owner, name)
            if sitting.owner != owner:
                raise _none()
            self._sittings[name] = self._sittings.pop(name, sitting)
            sitting.touched = time.time()
            return sitting

    def told(self, owner: str) -> list[Told]:
        """A person's sessions, the one used last first."""
        return self._told(hashed(owner))

    def _told(self, owner: str) -> list[Told]:
        found = [(path.stem, _told(path)) for path in (self.folder / owner).glob("*.json")]
        known = [
            Told(name, told["title"], int(told["takes"]), len(told["kept"]), told["touched"])
            for name, told in found
            if told is not None
        ]
        return sorted(known, key=lambda one: one.touched, reverse=True)

    def hold(self, sitting: Sitting, stop: Callable[[], None]) -> None:
        """Takes of a session begin to grow; `stop` stops them. Nobody else can change it until `release`."""

    def release(self, sitting: Sitting) -> None:
        """They have grown, and are written."""

    def stop_elsewhere(self, sitting: Sitting) -> None:
        """Returns when a session grows nowhere else either; there is nowhere else where one process has the store."""

    def keep(self, sitting: Sitting) -> None:
        """Write a session to disk, whole or not at all. Raises OSError."""
        folder = self.folder / sitting.owner
        folder.mkdir(exist_ok=True, mode=0o700)
        with sitting.lock:
            # What grows is written when it has grown.
            if sitting.gone or sitting.growing:
                return
            save_session(sitting.session, sitting.model, folder / (sitting.name + SUFFIX))
            write_whole(folder / f"{sitting.name}.json", json.dumps(sitting.plain()).encode())
        self._spill()

    def file(self, sitting: Sitting) -> Path:
        """Where `keep` wrote a session."""
        return self.folder / sitting.owner / (sitting.name + SUFFIX)

    def has(self, owner: str, name: str) -> bool:
        """There is such a session of the owner of that hash."""
        return (self.folder / owner / f"{name}.json").exists()

    def forget(self, owner: str, name: str) -> None:
        """Let go of a person's session for good. Raises NoSessionError, GrowingError."""
        sitting = self.get(owner, name)
        # Not while it is written, and never again.
        with sitting.lock:
            if self._is_growing(sitting.owner, name):
                raise growing()
            sitting.gone = True
            with self._lock:
                self._sittings.pop(name, None)
                self._remove(self.folder / sitting.owner / name)

    def clean(self) -> None:
        """Let go of what is old and has no kept take, and of the oldest such until the disk's budget holds."""
        with self._lock:
            files = [(told, path) for path in self.folder.glob("*/*.json") if (told := _told(path)) is not None]
            room = self._disk - sum(_size(path) for _, path in files)
            now = time.time()
            for told, path in sorted(files, key=lambda pair: pair[0]["touched"]):
                here = self._sittings.get(path.stem)
                old = now - max(told["touched"], here.touched if here else 0) > self._time_to_live
                if (old or room < 0) and not told["kept"] and not self._is_used(path.parent.name, path.stem, now):
                    room += _size(path)
                    self._let_go(path.with_suffix(""))

    def _is_used(self, owner: str, name: str, now: float) -> bool:
        sitting = self._sittings.get(name)
        at_hand = sitting is not None and now - sitting.touched < self._at_hand
        return at_hand or self._is_growing(owner, name)

    def _is_growing(self, owner: str, name: str) -> bool:
        """The owner, by a hash, has such a session in which takes grow."""
        sitting = self._sittings.get(name)
        return sitting is not None and sitting.owner == owner and bool(sitting.growing)

    def _read(self, owner: str, name: str) -> Sitting:
        path = self.folder / owner / name
        told = _told(path.with_suffix(".json")) if NAME.fullmatch(name) else None
        if told is None:
            raise _none()
        session = load_session(path.with_suffix(SUFFIX), self._engine_of(told["model"]))
        session.budget = MEMORY_OF_ONE
        kept = {number for number in told["kept"] if 0 <= number < len(session.takes)}
        sitting = Sitting(name, owner, told["model"], session, kept, told["begun"])
        sitting.asked, sitting.shared = asked_in(told), shared_in(told, len(session.takes))
        sitting.begun_with = str(told.get("begun_with", ""))
        self._spill()
        return sitting

    def _spill(self) -> None:
        """Those used least leave memory, where it is full; all of them are on disk."""
        with self._lock:
            sizes = {name: sitting.bytes for name, sitting in self._sittings.items()}
            room = self._memory - sum(sizes.values())
            for name, sitting in list(self._sittings.items())[:-1]:
                if room >= 0:
                    break
                if not sitting.growing and time.time() - sitting.touched >= self._at_hand:
                    del self._sittings[name]
                    room += sizes[name]

    def _forget_old(self, owner: str) -> None:
        """The oldest sessions of a person who has too many, but those with kept takes."""
        for told in self._told(owner)[MOST_OF_ONE - 1 :]:
            if not told.kept and not self._is_used(owner, told.name, time.time()):
                self._let_go(self.folder / owner / told.name)

    def _let_go(self, stem: Path) -> None:
        """A session is no more, also for those who have it in hand."""
        sitting = self._sittings.pop(stem.name, None)
        if sitting is not None:
            sitting.gone = True
        self._remove(stem)

    def _remove(self, stem: Path) -> None:
        for suffix in (".json", SUFFIX):
            stem.with_suffix(suffix).unlink(missing_ok=True)


def hashed(owner: str) -> str:
    """The name of a person's folder: it tells nothing of theirs, which is as good as a key."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def _none() -> NoSessionError:
    return NoSessionError("there is no such piece here: it may be too old, or made in another browser")


def _told(path: Path) -> dict[str, Any] | None:
    """What stands beside a session; None where nothing does, or where it is damaged."""
    try:
        told = json.loads(path.read_bytes())
        numbers = all(isinstance(told[name], (int, float)) for name in ("begun", "touched", "takes"))
        texts = all(isinstance(told[name], str) for name in ("model", "title"))
        kept = isinstance(told["kept"], list) and all(isinstance(number, int) for number in told["kept"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if numbers and texts and kept else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size + path.with_suffix(SUFFIX).stat().st_size
    except OSError:
        return 0
