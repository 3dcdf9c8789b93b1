"""The run at a glance: a line that lives on a terminal, or one now and then where nobody looks."""

import math
import sys
import time
from typing import Any

from rwkv_music.terminal import tell
from rwkv_music_training.learning.watching import Begun, End, Quiet, Reading, Step
from rwkv_music_training.telling.limits import Limit, measure_limit

# Seconds between two lines where there is no terminal, and between two pictures where there is one.
LINE_SECONDS, PICTURE_SECONDS = 10.0, 0.2
# How much a new step counts in what is shown; the first ones count alike.
WEIGHT = 0.05


class Glance:
    """What a run is like right now, smoothed over its last steps."""

    def __init__(self, limit: Limit | None):
        self._limit = limit
        self.step = 0
        self.done = self.speed = self.loss = self.seconds_left = 0.0
        self.epoch = self.rate = 0.0
        self.skipped = 0
        self._speeds = self._losses = 0

    def take(self, event: Step) -> None:
        """A step is over."""
        self._speeds += 1
        self.speed += max(WEIGHT, 1 / self._speeds) * (event.tokens / max(event.seconds, 1e-9) - self.speed)
        bits = event.loss / math.log(2)
        if math.isfinite(bits):
            self._losses += 1
            self.loss += max(WEIGHT, 1 / self._losses) * (bits - self.loss)
        if 0 < event.done <= 1:
            self.seconds_left = event.seconds_so_far * (1 - event.done) / event.done
        self.step, self.done, self.epoch, self.rate = event.step, event.done, event.epoch, event.rate
        self.skipped = event.skipped_so_far

    def words(self) -> str:
        """All of it in one line."""
        share = f" ({self._limit.share(self.speed):.0%} of this machine's limit)" if self._limit else ""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return (
            f"step {self.step:,}, epoch {self.epoch:.2f}, {self.loss:.3f} bits, {self.speed:,.0f} tokens/s{share}, "
            f"rate {self.rate:.1e}{skipped}, {duration(self.seconds_left)} left"
        )


def duration(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Live(Quiet):
    """Tells how a run goes on standard error."""

    def __init__(self) -> None:
        self._glance = Glance(None)
        self._progress: Any = None
        self._bar: Any = None
        self._told = 0.0

    def begin(self, event: Begun) -> None:
        """See `Watcher`; measures the machine."""
        machine = event.config.machine
        precision = machine.precision
        limit = measure_limit(event.spec, event.device, precision, machine.threads, event.processes)
        self._glance = Glance(limit)
        length = f"{event.steps:,} steps" if event.steps else duration(60 * event.config.schedule.minutes)
        self._say(
            f"{event.config.name}: RWKV-{event.spec.version}, {event.spec.layers} x {event.spec.width}, "
            f"{event.learning:,} of {event.parameters:,} numbers learn, {length}, on {event.device}"
            f"{f', {event.processes} processes' if event.processes > 1 else ''}; its matrix products alone would "
            f"allow {limit.tokens_per_second:,.0f} tokens/s"
        )
        if sys.stderr.isatty():
            self._show(event)

    def _show(self, event: Begun) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            console=Console(stderr=True),
            refresh_per_second=1 / PICTURE_SECONDS,
        )
        self._bar = self._progress.add_task(event.config.name, total=1.0, words="")
        self._progress.start()

    def step(self, event: Step) -> None:
        """See `Watcher`."""
        self._glance.take(event)
        now = time.monotonic()
        if now - self._told < (PICTURE_SECONDS if self._progress else LINE_SECONDS):
            return
        self._told = now
        if self._progress:
            self._progress.update(self._bar, completed=event.done, words=self._glance.words())
        else:
            tell(self._glance.words())

    def reading(self, event: Reading) -> None:
        """See `Watcher`."""
        best = (
            "the best so far" if event.is_best else f"best {event.best / math.log(2):.4f} at step {event.best_step:,}"
        )
        self._say(
            f"step {event.step:,}: validation {event.valid / math.log(2):.4f} bits a token ({best}), "
            f"training {event.train / math.log(2):.4f}"
        )

    def end(self, event: End) -> None:
        """See `Watcher`."""
        if self._progress:
            self._progress.stop()
        progress = event.progress
        self._progress = None
        self._say(
            f"{event.reason} after {progress.step:,} steps, {progress.tokens:,} tokens, {duration(progress.seconds)}"
            + (f"; the best model is in {event.best}" if event.best else "")
        )

    def _say(self, line: str) -> None:
        if self._progress:
            self._progress.console.print(line, markup=False, highlight=False)
        else:
            tell(line)
