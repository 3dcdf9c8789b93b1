"""Scripted people at one studio, who ask at random over HTTP: what goes wrong, how soon notes come, what it costs.

    python benchmarks/studio_evening.py --people 8 --seconds 1800
    python benchmarks/studio_evening.py --sessions 1000

Everybody has a key and an address of this machine's own. Times are ms over the socket, without a browser: of a stream from
its request to the first note, and of Stop to its answer, which is when nothing grows any more. Needs Linux.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from studio_people import Crowd, Person
from studio_process import StudioProcess

# Seconds between two looks at the process.
LOOK = 30.0
# Seconds in which everything that was left or stopped must be free.
REST = 30.0


class Watch(threading.Thread):
    """Looks at the process now and then."""

    def __init__(self, studio: StudioProcess):
        super().__init__(daemon=True)
        self._studio = studio
        self._over = threading.Event()
        self.looks: list[dict[str, float]] = []

    def run(self) -> None:
        begun = time.monotonic()
        while True:
            numbers = self._studio.numbers()
            self.looks.append(
                {
                    "seconds": round(time.monotonic() - begun),
                    "mib": self._studio.mib,
                    "threads": self._studio.threads,
                    "files": self._studio.files,
                    "tokens": numbers["rwkv_music_tokens_total"],
                    "in_memory": numbers['rwkv_music_sessions{place="memory"}'],
                    "on_disk": numbers['rwkv_music_sessions{place="disk"}'],
                }
            )
            if self._over.wait(LOOK):
                return

    def end(self) -> None:
        """The last look is taken."""
        self._over.set()
        self.join()


def spread(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and most in ms."""
    ordered = sorted(seconds) or [0.0]
    return {
        "p50": round(1000 * statistics.median(ordered), 1),
        "p95": round(1000 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1),
        "most": round(1000 * ordered[-1], 1),
        "of": len(seconds),
    }


def rows_left(studio: StudioProcess) -> float:
    """Takes that grow or wait, when all that was left has had time to end."""
    until = time.monotonic() + REST
    while True:
        numbers = studio.numbers()
        rows = sum(numbers[f'rwkv_music_rows{{state="{state}"}}'] for state in ("growing", "waiting"))
        if not rows or time.monotonic() > until:
            return rows
        time.sleep(0.2)


def evening(studio: StudioProcess, count: int, seconds: float) -> dict[str, Any]:
    """So many people for so many seconds."""
    crowd = Crowd()
    people = [Person(studio.address, crowd, number) for number in range(count)]
    people[0].warm_up()
    watch = Watch(studio)
    tokens, begun = studio.numbers()["rwkv_music_tokens_total"], time.monotonic()
    watch.start()
    threads = [threading.Thread(target=one.evening, args=(begun + seconds, people)) for one in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    tokens = studio.numbers()["rwkv_music_tokens_total"] - tokens
    left = rows_left(studio)
    for one in people:
        one.close()
    watch.end()
    early = [look["mib"] for look in watch.looks if 300 <= look["seconds"] <= 600]
    return {
        "people": count,
        "seconds": round(took, 1),
        "troubles": crowd.troubles,
        "complaints": studio.complaints,
        "rows_left": left,
        "first_note_ms": spread(crowd.first_notes),
        "first_token_ms": spread(crowd.first_tokens),
        "stop_ms": spread(crowd.stops),
        "tokens_a_second": round(tokens / took, 1),
        "streams": crowd.streams,
        "done": dict(Counter(crowd.done)),
        "answers": dict(sorted(Counter(crowd.answers).items())),
        "mib_first_early_last": [
            watch.looks[0]["mib"],
            statistics.median(early) if early else None,
            watch.looks[-1]["mib"],
        ],
        "first_look": watch.looks[0],
        "last_look": watch.looks[-1],
        "mib": [look["mib"] for look in watch.looks],
        "in_memory": [look["in_memory"] for look in watch.looks],
        "disk_mib": studio.disk_mib,
    }


def sessions(studio: StudioProcess, count: int, at_once: int = 4) -> dict[str, Any]:
    """So many pieces of as many people, each with a short take."""
    crowd = Crowd()
    Person(studio.address, crowd, 0).warm_up()
    mib, files, threads, begun = [studio.mib], studio.files, studio.threads, time.monotonic()

    def one(number: int) -> None:
        person = Person(studio.address, crowd, number + 1)
        person.short_take()
        person.close()
        if (number + 1) % max(1, count // 10) == 0:
            mib.append(studio.mib)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(count)))
    took = time.monotonic() - begun
    left, numbers = rows_left(studio), studio.numbers()
    return {
        "sessions": count,
        "seconds": round(took, 1),
        "troubles": crowd.troubles,
        "complaints": studio.complaints,
        "answers": dict(sorted(Counter(crowd.answers).items())),
        "rows_left": left,
        "mib": [*mib, studio.mib],
        "in_memory": numbers['rwkv_music_sessions{place="memory"}'],
        "on_disk": numbers['rwkv_music_sessions{place="disk"}'],
        "disk_mib": studio.disk_mib,
        "threads": [threads, studio.threads],
        "files": [files, studio.files],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sessions", type=int, help="so many short pieces instead, each of somebody else")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, StudioProcess(Path(folder)) as studio:
        told = sessions(studio, args.sessions) if args.sessions else evening(studio, args.people, args.seconds)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
