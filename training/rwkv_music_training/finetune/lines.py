"""A fine-tuning for programs that watch one: what the terminal is told, as an object of JSON a line."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

from rwkv_music_training.finetune.preflight import Preflight
from rwkv_music_training.finetune.result import Result
from rwkv_music_training.learning.watching import Begun, End, Quiet, Reading, Step

# Seconds between two lines about steps.
EVERY = 0.5
# Pieces left out that are told by name.
MOST_REJECTS = 200


class Lines(Quiet):
    """Each line has an "event": "preflight", "begin", "step", "reading", "end" and "result", in that order.

    Bits are those of a token, which in ABC is a character.
    """

    def __init__(self, write: Callable[[str], None]):
        """write: takes a line, with its end."""
        self._write = write
        self._steps = 0
        self._told = -math.inf

    def _tell(self, event: str, **facts: Any) -> None:
        self._write(json.dumps({"event": event, **facts}) + "\n")

    def preflight(self, preflight: Preflight) -> None:
        """What is going to happen."""
        material, config, trial = preflight.material, preflight.config, preflight.trial
        manifest = material.corpus.manifest
        rejects = material.corpus.rejects().slice(0, MOST_REJECTS).to_pylist()
        self._tell(
            "preflight",
            model=preflight.base.name,
            method=config.method.name,
            unit="character" if preflight.base.code == "abc" else "token",
            found=manifest.found,
            left_out=dict(manifest.left_out),
            rejects=[{name: row[name] for name in ("name", "reason", "detail")} for row in rejects],
            pieces=len(material.train.lengths),
            tokens=int(material.train.lengths.sum()),
            held_out=len(material.held.lengths),
            steps=config.schedule.steps,
            steps_wished=preflight.wished,
            seconds=round(preflight.seconds, 1),
            memory=trial.memory,
            bits=_bits(trial.nats),
        )

    def begin(self, event: Begun) -> None:
        """See `Watcher`."""
        self._steps = event.steps
        self._tell("begin", steps=event.steps)

    def step(self, event: Step) -> None:
        """See `Watcher`."""
        now = time.monotonic()
        if now - self._told < EVERY:
            return
        self._told = now
        left = event.seconds_so_far * (1 - event.done) / event.done if event.done else 0.0
        self._tell("step", step=event.step, steps=self._steps, seconds_left=round(left, 1), bits=_bits(event.loss))

    def reading(self, event: Reading) -> None:
        """See `Watcher`."""
        self._tell("reading", step=event.step, bits=_bits(event.valid), best=_bits(event.best))

    def end(self, event: End) -> None:
        """See `Watcher`; what was learnt is compared with what was before, and kept."""
        self._tell("end", reason=event.reason, steps=event.progress.step)

    def result(self, result: Result) -> None:
        """What became of it."""
        comparison = result.comparison
        self._tell(
            "result",
            folder=str(result.place.folder),
            option=result.option,
            size=result.size,
            before=round(comparison.before.per_token, 4),
            after=round(comparison.after.per_token, 4),
        )


def _bits(nats: float) -> float | None:
    """As JSON takes a number."""
    return round(nats / math.log(2), 4) if math.isfinite(nats) else None
