"""The training loop: steps in, readings, samples and checkpoints out; it can stop and go on at any step."""

import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.learning.carrying import batches_of
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.export import export_model, model_config
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.making import make_learner
from rwkv_music_training.learning.progress import Progress
from rwkv_music_training.learning.reading import Readings
from rwkv_music_training.learning.recipe import text_of
from rwkv_music_training.learning.schedule import learning_rate
from rwkv_music_training.learning.stepping import Outcome, Stepper
from rwkv_music_training.learning.watching import Begun, End, Reading, Sample, Step, Watcher
from rwkv_music_training.scale.parallel import Parallel

MOST_SKIPPED_IN_A_ROW = 20


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says why and what to change."""


class Keeper(Protocol):
    """Where checkpoints go: every process calls it at the same steps."""

    def save(self, step: int, state: Mapping[str, Any], progress: Progress) -> None:
        """Keep a copy of the state as it is now; it may be written while the run goes on."""
        ...

    def close(self) -> None:
        """Come back when everything is written."""
        ...


class Run:
    """One run in one folder: config.yaml, best/ (a model folder), samples/, and what keeper and watchers write."""

    def __init__(
        self,
        config: TrainingConfig,
        lesson: Lesson,
        folder: Path,
        parallel: Parallel,
        *,
        keeper: Keeper | None = None,
        watchers: Sequence[Watcher] = (),
        weights: Mapping[str, Tensor] | None = None,
        reads_when_stopped: bool = False,
    ):
        """weights: of the model to begin with, where they are at hand.

        reads_when_stopped: whoever stops a run waits for a last reading, and loses nothing that was learnt. Raises like
        `make_learner` and `batches_of`.
        """
        self.config = config
        self.lesson = lesson
        self.folder = folder
        self.parallel = parallel
        self.progress = Progress()
        self.batches = batches_of(lesson.train, config.data, config.seed, lesson.cutting)
        learner = make_learner(config, lesson.vocabulary, choose_kernels(parallel.device), weights)
        self.stepper = Stepper(learner, self.batches, parallel)
        self.steps = self._length()
        self._keeper = keeper
        self._watchers = watchers if parallel.first else ()
        self._readings = (
            Readings(lesson.valid, config.data.valid_tokens, config.data.pieces) if lesson.valid is not None else None
        )
        self._reads_when_stopped = reads_when_stopped
        self._stopping = False
        self._skipped_in_a_row = 0
        self._losses: list[tuple[float, int]] = []

    def _length(self) -> int:
        """Steps of the whole run; 0 where it is as long as its minutes."""
        schedule = self.config.schedule
        if schedule.minutes > 0:
            return 0
        return max(1, round(schedule.epochs * self.batches.per_epoch)) if schedule.epochs > 0 else schedule.steps

    @property
    def done(self) -> float:
        """The share of the run that is over, 0..1: of the minutes when they are given, else of the steps."""
        if self.config.schedule.minutes > 0:
            return min(1.0, self.progress.seconds / (60 * self.config.schedule.minutes))
        return min(1.0, self.progress.step / self.steps)

    @property
    def epoch(self) -> float:
        """Passes through the music so far."""
        return self.progress.step / self.batches.per_epoch

    @property
    def out_of_patience(self) -> bool:
        """Whether the validation documents have not been read better for too long."""
        return 0 < self.config.habits.patience <= self.progress.readings_since_best

    def run(self) -> Progress:
        """Train to the end, or until asked to stop. Raises TrainingError."""
        habits = self.config.habits
        self._begin()
        saved = time.monotonic()
        with self._stop_on_signals(), self.parallel.watch():
            while self.done < 1 and not self._stopping and not self.out_of_patience:
                self._step()
                if habits.read_every and self.progress.step % habits.read_every == 0:
                    self.read()
                if self.parallel.agree(time.monotonic() - saved) >= habits.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
            reads = self._reads_when_stopped or not self._stopping
            if reads and habits.read_every and self.progress.step % habits.read_every:
                self.read()
            self.save()
        if self._keeper is not None:
            self._keeper.close()
        self._end()
        return self.progress

    def _step(self) -> None:
        started = time.monotonic()
        rate = learning_rate(self.progress.step, self.done, self.config.optimiser, self.config.schedule)
        outcome = self.stepper.step(self.progress.step, rate, self._asked_to_stop)
        self._stopping = outcome.stopping
        seconds = self.parallel.agree(time.monotonic() - started)
        self.progress = replace(
            self.progress,
            step=self.progress.step + 1,
            skipped=self.progress.skipped + outcome.skipped,
            tokens=self.progress.tokens + outcome.tokens,
            seconds=self.progress.seconds + seconds,
        )
        self._tell_step(outcome, rate, seconds)
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if outcome.skipped else 0
        if not outcome.skipped:
            self._losses.append((outcome.loss * outcome.tokens, outcome.tokens))
        if self._skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"the gradient was not finite for {MOST_SKIPPED_IN_A_ROW} steps in a row: lower optimiser.learning_rate"
            )

    def read(self) -> None:
        """Read the validation documents, keep the model if it is the best, and let it write samples."""
        if self._readings is None or self._readings.empty:
            return
        started = time.monotonic()
        stepper, parallel = self.stepper, self.parallel
        learner = stepper.learner
        stepper.module.eval()
        with stepper.average.in_place():
            counted = self._readings.read(
                stepper.costs, parallel.device, parallel.reader, parallel.readers, stepper.threads
            )
            sums = parallel.sums(*counted.nats.tolist(), *counted.positions.tolist())
            nats, positions = sums[: len(counted.names)], sums[len(counted.names) :]
            valid = sum(nats) / max(1.0, sum(positions))
            better = valid < self.progress.best
            self.progress = replace(self.progress, readings_since_best=self.progress.readings_since_best + 1)
            if better:
                self.progress = replace(self.progress, best=valid, best_step=self.progress.step, readings_since_best=0)
            sources = {
                name: own / count for name, own, count in zip(counted.names, nats, positions, strict=True) if count
            }
            whole = parallel.gather(dict(learner.named_parameters()))
        stepper.module.train()
        if parallel.first:
            self._tell_reading(whole, valid, sources, better)
        self.progress = replace(
            self.progress, seconds=self.progress.seconds + parallel.agree(time.monotonic() - started)
        )

    def save(self) -> None:
        """Write a checkpoint of this very moment."""
        if self._keeper is not None:
            self._keeper.save(self.progress.step, self.stepper.state(), self.progress)

    def _tell_reading(self, whole: Mapping[str, Tensor], valid: float, sources: dict[str, float], better: bool) -> None:
        learner, config = self.stepper.learner, self.config
        if better:
            bits = {name: value / math.log(2) for name, value in {"all": valid, **sources}.items()}
            count = sum(each.numel() for each in whole.values())
            told = model_config(config, self.lesson, learner.spec, count, self.progress, bits)
            export_model(self.folder / "best", learner.method, whole, learner.spec, told)
        train = sum(nats for nats, _ in self._losses) / max(1, sum(tokens for _, tokens in self._losses))
        self._losses = []
        rate = learning_rate(self.progress.step, self.done, config.optimiser, config.schedule)
        event = Reading(
            step=self.progress.step,
            epoch=self.epoch,
            tokens=self.progress.tokens,
            seconds=self.progress.seconds,
            rate=rate,
            train=train,
            valid=valid,
            sources=sources,
            is_best=better,
            best=self.progress.best,
            best_step=self.progress.best_step,
        )
        model = build_model(learner.spec, learner.method.seen(whole, learner.spec), choose_kernels("cpu"))
        start = learner.method.start(whole, learner.spec, 1, torch.device("cpu"))
        samples = self.folder / "samples"
        samples.mkdir(exist_ok=True)
        for watcher in self._watchers:
            watcher.reading(event)
            watcher.sample(Sample(self.progress.step, model, start, samples))

    def _tell_step(self, outcome: Outcome, rate: float, seconds: float) -> None:
        event = Step(
            step=self.progress.step,
            epoch=self.epoch,
            done=self.done,
            loss=outcome.loss,
            rate=rate,
            gradient_norm=outcome.gradient_norm,
            skipped=outcome.skipped,
            skipped_so_far=self.progress.skipped,
            tokens=outcome.tokens,
            tokens_so_far=self.progress.tokens,
            seconds=seconds,
            seconds_so_far=self.progress.seconds,
        )
        for watcher in self._watchers:
            watcher.step(event)

    def _begin(self) -> None:
        if self.parallel.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "config.yaml").write_text(text_of(self.config), encoding="utf-8")
        learner = self.stepper.learner
        event = Begun(
            config=self.config,
            folder=self.folder,
            spec=learner.spec,
            parameters=sum(each.numel() for each in learner.parameters()),
            learning=sum(each.numel() for each in self.stepper.learning.values()),
            steps_per_epoch=self.batches.per_epoch,
            steps=self.steps,
            device=str(self.parallel.device),
            processes=self.parallel.world,
            progress=self.progress,
        )
        for watcher in self._watchers:
            watcher.begin(event)

    def _end(self) -> None:
        reason = "stopped" if self._stopping else "out of patience" if self.out_of_patience else "finished"
        best = self.folder / "best"
        for watcher in self._watchers:
            watcher.end(End(self.progress, reason, best if best.is_dir() else None))

    def stop(self) -> None:
        """End after the step under way, as a signal does."""
        self._asked_to_stop = True

    _asked_to_stop = False

    @contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the loop after the step under way."""

        def stop(_signal: int, _frame: object) -> None:
            self._asked_to_stop = True

        before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
