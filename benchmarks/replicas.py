"""Many streams at once from `rwkv-music serve`: one process, one replica, two, and two of which one is killed.

    python benchmarks/replicas.py --streams 64 --bars 16

Every stream is a program of its own with a seed of its own. What each was told is held against what this process makes of
the same seed. The programs run on the same machine, in this process.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from rwkv_music_app.client import Client
from rwkv_music_app.service import Service
from rwkv_music_app.studio import Studio
from rwkv_music_app.wants import Begin, GoOn

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\nGAB c2d|ecA GED|"
ONE = ["--threads", "1"]
SETUPS = {
    "one process": [],
    "1 replica": ["--ray", "--replicas", "1"],
    "2 replicas": ["--ray", "--replicas", "2"],
    "2 replicas, one killed": ["--ray", "--replicas", "2"],
}


@dataclass
class Stream:
    """What one program was told."""

    seed: int
    tokens: list[str] = field(default_factory=list)
    # Seconds until the first token.
    first: float = 0.0
    # Seconds between two tokens, at most.
    silence: float = 0.0
    complete: bool = False
    # Times that it was let in.
    answers: int = 0

    def hear(self, address: str, bars: int) -> None:
        """To the end."""
        asked, last = time.monotonic(), 0.0
        with Client(address, transport=Counting(self)) as client:
            for event in client.generate({"abc": TUNE}, bars=bars, seed=self.seed):
                now = time.monotonic()
                if event.kind == "token":
                    self.tokens.append(event.data["text"])
                    self.first = self.first or now - asked
                    self.silence = max(self.silence, now - (last or now))
                    last = now
                self.complete = event.kind == "end"


class Counting(httpx2.HTTPTransport):
    """Counts how often a stream is answered."""

    def __init__(self, stream: Stream):
        super().__init__()
        self._stream = stream

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        self._stream.answers += answer.status_code == 200
        return answer


@contextmanager
def server(words: list[str]) -> Iterator[tuple[str, int]]:
    """Its address, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rwkv_music", "serve", "--port", "0", "--store", folder, *ONE, *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            told = process.stderr.readline()
            found = re.search(r"at (http://\S+)/api/v1", told)
            if not found:
                raise SystemExit(told + process.stderr.read())
            try:
                yield found[1], process.pid
            finally:
                process.send_signal(signal.SIGINT)
                process.stderr.read()


def replicas(process: int) -> list[int]:
    """The processes that are replicas, and have that one among their ancestors."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::ServeReplica:rwkv-music"):
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if process in _up(pid, parents)]


def _up(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def measure(name: str, streams: int, bars: int) -> list[Stream]:
    """Every stream of a setup; prints how it went."""
    heard = [Stream(seed) for seed in range(streams)]
    with server(SETUPS[name]) as (address, process):
        for seed in range(4):
            Stream(seed).hear(address, 2)
        begun = time.monotonic()
        threads = [threading.Thread(target=stream.hear, args=(address, bars)) for stream in heard]
        for thread in threads:
            thread.start()
        if "killed" in name:
            # In the middle, as far as one can tell.
            while sum(len(stream.tokens) for stream in heard) < streams * bars * 6:
                time.sleep(0.05)
            os.kill(replicas(process)[0], signal.SIGKILL)
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
    first = sorted(stream.first for stream in heard)
    told = {
        "setup": name,
        "seconds": round(took, 1),
        "tokens_a_second": round(sum(len(stream.tokens) for stream in heard) / took, 1),
        "first_token_p50_p95": [round(statistics.quantiles(first, n=20)[place], 2) for place in (9, 18)],
        "complete": sum(stream.complete for stream in heard),
        "resumed": sum(stream.answers > 1 for stream in heard),
        "longest_silence": round(max(stream.silence for stream in heard), 1),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(told), flush=True)
    return heard


def expected(streams: int, bars: int) -> list[list[str]]:
    """What this process makes of the same seeds."""
    with tempfile.TemporaryDirectory() as folder:
        studio: Studio = Service(Path(folder), threads=1).open()
        growths = []
        for seed in range(streams):
            sitting = studio.begin(f"owner {seed}", Begin(text=TUNE))
            growths.append(studio.go_on(f"owner {seed}", sitting.name, GoOn(bars=bars, seed=seed)))
        for growth in growths:
            growth.job.settled.wait()
        studio.close()
        return [[event.text for event in growth.job.log if event.kind == "token"] for growth in growths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--bars", type=int, default=16)
    parser.add_argument("--setup", choices=SETUPS, action="append", help="only this; may be repeated")
    args = parser.parse_args()
    whole = expected(args.streams, args.bars)
    for name in args.setup or SETUPS:
        heard = measure(name, args.streams, args.bars)
        equal = sum(stream.tokens == tokens for stream, tokens in zip(heard, whole, strict=True))
        print(json.dumps({"setup": name, "equal": equal, "of": args.streams}), flush=True)


if __name__ == "__main__":
    main()
