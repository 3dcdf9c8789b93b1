"""Scripted people at one studio, who click at random: what goes wrong, how soon notes come, how fast all of it is.

    python benchmarks/studio_evening.py --people 8 --seconds 60

Times are from asking to the first note and from Stop to free rows, without a browser.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

from rwkv_music.errors import UserError
from rwkv_music_app.models import Models
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.studio import Growth, Studio
from rwkv_music_app.wants import Begin, GoOn

TUNE = "X:1\nT:{name}\nM:6/8\nL:1/8\nK:G\nGAB c2d|ecA GED|"


class Person:
    """Somebody who clicks at random, and looks whether anything of anybody else's is there."""

    def __init__(self, studio: Studio, name: str, seed: int):
        self.studio, self.name, self.dice = studio, name, random.Random(seed)
        self.sessions: list[str] = []
        self.first: list[float] = []
        self.stopped: list[float] = []
        self.troubles: list[str] = []

    def evening(self, until: float, others: "list[Person]") -> None:
        """Clicks until the time is over."""
        while time.monotonic() < until:
            try:
                self._click(others)
            except UserError as error:
                if "stop it first" not in str(error):
                    self.troubles.append(str(error))

    def _click(self, others: "list[Person]") -> None:
        studio, dice = self.studio, self.dice
        if not self.sessions or dice.random() < 0.1:
            self.sessions.append(studio.begin(self.name, Begin(text=TUNE.format(name=self.name))).name)
        session = dice.choice(self.sessions)
        tree = studio.picture(self.name, session)
        if tree["title"] != self.name:
            self.troubles.append(f"{self.name} sees {tree['title']}")
        take = dice.randrange(len(tree["takes"]))
        match dice.choice(("on", "on", "branch", "undo", "redo", "go", "keep", "look", "stop", "peep")):
            case "on":
                self._watch(lambda: studio.go_on(self.name, session, self._how(), take))
            case "branch":
                self._watch(lambda: studio.branch(self.name, session, self._how(), take))
            case "undo":
                studio.undo(self.name, session)
            case "redo":
                studio.redo(self.name, session)
            case "go":
                studio.go_to(self.name, session, take)
            case "keep":
                studio.keep(self.name, session, take, dice.random() < 0.5)
            case "look":
                studio.since(self.name, session, take)
            case "stop":
                growth = studio.go_on(self.name, session, GoOn(bars=256))
                growth.job.events.get(timeout=60)
                begun = time.monotonic()
                studio.stop(self.name, session)
                self.stopped.append(time.monotonic() - begun)
            case "peep":
                self._peep(dice.choice(others))

    def _how(self) -> GoOn:
        return GoOn(bars=self.dice.randint(1, 8), takes=self.dice.randint(1, 3))

    def _watch(self, ask) -> None:
        begun = time.monotonic()
        growth: Growth = ask()
        growth.job.events.get(timeout=60)
        self.first.append(time.monotonic() - begun)
        growth.job.settled.wait(60)

    def _peep(self, other: "Person") -> None:
        if other is self or not other.sessions:
            return
        try:
            self.studio.picture(self.name, other.sessions[0])
            self.troubles.append(f"{self.name} sees a piece of {other.name}")
        except NoSessionError:
            pass


def spread(seconds: list[float]) -> dict[str, float]:
    """p50 and p95 in ms."""
    ordered = sorted(seconds) or [0.0]
    return {
        "p50_ms": round(1000 * statistics.median(ordered), 1),
        "p95_ms": round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 1),
    }


def memory() -> int:
    """Resident MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = Models()
        studio = Studio(Path(folder), models)
        people = [Person(studio, f"person {number}", number) for number in range(args.people)]
        batcher = models.batcher("abc-folk")
        people[0]._click(people)
        begun, tokens, before = time.monotonic(), batcher.tokens, memory()
        threads = [threading.Thread(target=one.evening, args=(begun + args.seconds, people)) for one in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        told = {
            "people": args.people,
            "seconds": round(took, 1),
            "sessions": sum(len(one.sessions) for one in people),
            "troubles": [trouble for one in people for trouble in one.troubles],
            "first_note": spread([time for one in people for time in one.first]),
            "stop": spread([time for one in people for time in one.stopped]),
            "tokens_a_second": round((batcher.tokens - tokens) / took, 1),
            "rows_left": batcher.rows,
            "memory_mib": [before, memory()],
        }
        studio.close()
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
