"""A studio as a process of its own, and what the system says of it: memory, threads, open files."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx

# Seconds until it answers, on a machine that is busy.
PATIENCE = 180.0
ADDRESS = re.compile(r"http://[0-9.]+:\d+")
API = "/api/v1"


class StudioProcess:
    """`rwkv-music app` at a free port of this machine, until the end of a with statement."""

    def __init__(self, folder: Path):
        """folder: of its pieces, and of what it says. Raises RuntimeError where it does not answer."""
        self.folder = folder
        words = ["-m", "rwkv_music", "app", "--port", "0", "--folder", str(folder)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, env=os.environ)
        try:
            self._wait()
        except BaseException:
            self._process.kill()
            raise

    def __enter__(self) -> "StudioProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    @property
    def address(self) -> str:
        """Where it answers, without a slash at the end; "" while it does not say."""
        found = ADDRESS.search(self.said)
        return found[0] if found else ""

    @property
    def said(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    @property
    def complaints(self) -> list[str]:
        """What it said besides its welcome."""
        return [line for line in self.said.splitlines() if line.strip() and "the studio is open at" not in line]

    @property
    def mib(self) -> int:
        """Resident MiB."""
        pages = int(self._system("statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") >> 20

    @property
    def threads(self) -> int:
        """How many threads it has."""
        return sum(1 for _ in self._system("task").iterdir())

    @property
    def files(self) -> int:
        """How many files and sockets it has open."""
        return sum(1 for _ in self._system("fd").iterdir())

    @property
    def disk_mib(self) -> int:
        """MiB of the files in its folder."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()) >> 20

    def numbers(self) -> dict[str, float]:
        """What it tells Prometheus."""
        lines = httpx.get(self.address + API + "/metrics", timeout=60).text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _system(self, what: str) -> Path:
        return Path(f"/proc/{self._process.pid}/{what}")

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the studio does not answer: {self.said}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            return bool(self.address) and httpx.get(self.address + API + "/health").is_success
        except httpx.TransportError:
            return False
