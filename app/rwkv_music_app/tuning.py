"""Styles made of uploaded music: `rwkv-music finetune` as a process of its own, one at a time, and what it tells."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music_app.tuning_wishes import Wish, check_files, shown

# Seconds that looking at the music may take, and that learning may take beyond its minutes.
LOOKING, GRACE = 300.0, 120.0
# Others compose meanwhile.
NICENESS = 10
# Of what the process complains of, its end is read; of a line that it tells, so much.
MOST_COMPLAINT, MOST_LINE = 4096, 1 << 20
# Seconds after which what a studio left behind that was killed is removed.
OLD = 24 * 3600.0
# What there is to see where there is nothing.
NOTHING = {"phase": "none", "busy": False, "stopped": False, "error": ""}


@dataclass(eq=False)
class Tuning:
    """One tuning: its files, its process, and what is known of it."""

    owner: str
    wish: Wish
    folder: Path
    # What the files were called, in the order of their own names.
    names: list[str]
    # "looking", "ready" (to be started), "learning", "keeping", "done" or "failed".
    phase: str = "looking"
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    # On the monotonic clock, when it has taken too long.
    until: float = 0.0
    stopped: bool = False
    # Bytes of the process's lines that were read.
    heard: int = 0

    @property
    def is_busy(self) -> bool:
        """A process is at work."""
        return self.process is not None

    def run(self, *, look: bool) -> None:
        """Begin to look, or to learn. Raises OSError."""
        self.heard = 0
        with (self.folder / "lines").open("wb") as lines, (self.folder / "log").open("wb") as log:
            # A session of its own: Ctrl-C in the terminal of the studio is not meant for it. Files instead of pipes: it
            # comes to its end when the studio does not.
            self.process = subprocess.Popen(
                command(self.wish, look),
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, self.process.pid, NICENESS)
        self.until = time.monotonic() + (LOOKING if look else 60 * self.wish.minutes + GRACE)
        self.phase = "looking" if look else "learning"

    def listen(self) -> None:
        """Bring what is known up to date."""
        if self.process is None:
            return
        over = self.process.poll() is not None
        self._read_lines()
        if over:
            self._end(self.process.returncode)
        elif time.monotonic() > self.until:
            self.end()
            self.phase, self.error = "failed", "this took too long, and was ended"

    def _end(self, code: int) -> None:
        self.process = None
        if code == 0 and self.phase == "looking" and "preflight" in self.facts:
            self.phase = "ready"
        elif code == 0 and "result" in self.facts:
            self.phase = "done"
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.phase = "failed"
            self.error = "stopped before anything was learnt" if self.stopped else self._complaint()

    def _read_lines(self) -> None:
        with (self.folder / "lines").open("rb") as file:
            file.seek(self.heard)
            while (line := file.readline(MOST_LINE)).endswith(b"\n"):
                self.heard += len(line)
                self._hear(json.loads(line))

    def _hear(self, told: dict[str, Any]) -> None:
        match told.pop("event"):
            case "preflight":
                self.facts["preflight"] = {**told, "rejects": [self._named(row) for row in told["rejects"]]}
            case "step":
                self.facts["step"] = told
            case "reading":
                self.facts["now"] = told["best"]
                self.facts.setdefault("curve", []).append([told["step"], told["bits"]])
            case "end":
                self.phase = "keeping"
            case "result":
                self.facts["result"] = {name: told[name] for name in ("before", "after", "size")}

    def _named(self, row: dict[str, str]) -> dict[str, str]:
        """A file that was left out, as its owner called it."""
        number = re.search(r"\d{4}", row["name"])
        place = int(number[0]) if number else len(self.names)
        return {"name": self.names[place] if place < len(self.names) else "", "reason": row["reason"]}

    def _complaint(self) -> str:
        """The last line that the process wrote on standard error."""
        written = (self.folder / "log").read_bytes()[-MOST_COMPLAINT:].decode("utf-8", "replace")
        lines = [line.strip() for line in written.splitlines() if line.strip()]
        return lines[-1].removeprefix("rwkv-music: ") if lines else "it ended without a word"

    def stop(self) -> None:
        """End it; what was learnt is kept."""
        if self.process is not None and not self.stopped:
            self.stopped = True
            if self.phase == "learning":
                self.process.send_signal(signal.SIGINT)
            elif self.phase == "looking":
                self.end()
                self.phase, self.error = "failed", "stopped"

    def end(self) -> None:
        """End it at once, with all processes that it began."""
        if self.process is not None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self.process = None

    def plain(self) -> dict[str, Any]:
        """All that is known, as JSON has it."""
        told = {"phase": self.phase, "busy": self.is_busy, "stopped": self.stopped, "error": self.error}
        return {**told, "name": self.wish.name, **self.facts}


class Tunings:
    """The one tuning that there is at a time on this machine, and whose it is. Any thread may call."""

    def __init__(self, folder: Path):
        """folder: where music lies while it is learnt from; it is made. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._lock = threading.Lock()
        self._tuning: Tuning | None = None
        for left in folder.iterdir():
            if time.time() - left.stat().st_mtime > OLD:
                shutil.rmtree(left, ignore_errors=True)

    def look(self, owner: str, files: Sequence[Path], wish: Wish) -> None:
        """Take in files of music, and find out what tuning a style to them would mean; `view` tells. Raises UserError, OSError."""
        wish.check_free()
        check_files(files)
        with self._lock:
            self._check_idle()
            self._forget()
            folder = self._folder / secrets.token_hex(16)
            (folder / "music").mkdir(parents=True, mode=0o700)
            for number, file in enumerate(files):
                shutil.copyfile(file, folder / "music" / f"{number:04d}{file.suffix.lower()}")
            names = [shown(file) for file in files]
            tuning = Tuning(owner, wish, folder, names)
            tuning.run(look=True)
            self._tuning = tuning

    def start(self, owner: str) -> None:
        """Tune what was looked at. Raises UserError, OSError."""
        with self._lock:
            tuning = self._of(owner)
            if tuning is None or tuning.phase != "ready":
                raise UserError("look at your music first")
            tuning.wish.check_free()
            tuning.run(look=False)

    def stop(self, owner: str) -> None:
        """End what is under way; what was learnt is kept."""
        with self._lock:
            tuning = self._of(owner)
            if tuning is not None:
                tuning.stop()

    def view(self, owner: str) -> dict[str, Any]:
        """What is known of somebody's tuning; its "phase" is "none" where there is none."""
        with self._lock:
            tuning = self._of(owner)
            return tuning.plain() if tuning else dict(NOTHING)

    def close(self) -> None:
        """Stop what is under way; it keeps what was learnt, and comes to its end by itself."""
        with self._lock:
            if self._tuning is not None:
                self._tuning.stop()

    def _of(self, owner: str) -> Tuning | None:
        tuning = self._tuning
        if tuning is not None:
            tuning.listen()
        return tuning if tuning is not None and tuning.owner == owner else None

    def _check_idle(self) -> None:
        if self._tuning is not None:
            self._tuning.listen()
            if self._tuning.is_busy:
                raise UserError("a style is being tuned on this machine: stop it, or wait for it")

    def _forget(self) -> None:
        if self._tuning is not None:
            shutil.rmtree(self._tuning.folder, ignore_errors=True)


def command(wish: Wish, look: bool) -> list[str]:
    """What looks at the music in the folder `music`, or learns it."""
    words = [
        sys.executable,
        "-m",
        "rwkv_music",
        "finetune",
        "music",
        "--method",
        "state",
        "--json",
        "--no-samples",
        "-o",
        wish.name,
    ]
    words += ["--minutes", f"{wish.minutes:g}", "--steps", str(wish.steps)]
    return [*words, *["--base", wish.model] * bool(wish.model), *["--force"] * wish.replace, *["--look"] * look]
