"""The training loop: batches in, curve, samples and checkpoints out; it can stop and go on at any step."""

import math
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from rwkv_music_kernels.contract import Kernels
from rwkv_music_training.checkpoints import Checkpoint, Progress, check_tensors, load_checkpoint, save_checkpoint
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.curve import Curve
from rwkv_music_training.export import export_model
from rwkv_music_training.judging.readings import Reading, headline
from rwkv_music_training.learner import Learner
from rwkv_music_training.lessons import Lesson
from rwkv_music_training.optimizer import learning_rate

REPORT_SECONDS = 10.0
MOST_SKIPPED_IN_A_ROW = 20


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says why and what to change."""


class Trainer:
    """One run in one folder: checkpoints/, best/ (a model folder), samples/, curve.csv, config.json."""

    def __init__(self, config: TrainingConfig, lesson: Lesson, folder: Path, kernels: Kernels):
        self.config = config
        self.lesson = lesson
        self.folder = folder
        self.progress = Progress()
        self.stopping = False
        self.curve = Curve(folder / "curve.csv")
        torch.set_num_threads(1)
        self.learner = Learner(config, kernels)
        self._losses: list[float] = []
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint folder. Raises ResumeError."""
        checkpoint = load_checkpoint(path)
        check_tensors(path, checkpoint, self.learner.tensors())
        self.learner.restore(checkpoint.tensors)
        self.progress = checkpoint.progress
        self.curve.forget_after(self.progress.step)

    @property
    def done(self) -> float:
        """The share of the run that is over, 0..1: of the minutes when they are given, else of the steps."""
        if self.config.minutes > 0:
            return min(1.0, self.progress.seconds / (60 * self.config.minutes))
        return min(1.0, self.progress.step / self.config.steps)

    @property
    def out_of_patience(self) -> bool:
        """Whether the validation documents have not been read better for too long."""
        return 0 < self.config.patience <= self.progress.readings_since_best

    def run(self) -> Progress:
        """Train to the end, or until asked to stop. Raises TrainingError."""
        (self.folder / "config.json").write_text(self.config.to_json(), encoding="utf-8")
        started = time.monotonic() - self.progress.seconds
        saved = reported = time.monotonic()
        tokens_then = self.progress.tokens
        with self._stop_on_signals():
            while self.done < 1 and not self.stopping and not self.out_of_patience:
                self._step()
                now = time.monotonic()
                self.progress = replace(self.progress, seconds=now - started)
                if self.progress.step % self.config.evaluate_every == 0:
                    self.read()
                if now - reported >= REPORT_SECONDS:
                    self._report((self.progress.tokens - tokens_then) / (now - reported))
                    reported, tokens_then = now, self.progress.tokens
                if now - saved >= self.config.checkpoint_seconds:
                    self.save()
                    saved = now
        if not self.stopping and self.progress.step % self.config.evaluate_every:
            self.read()
        self.save()
        return self.progress

    def save(self) -> Path:
        """Write a checkpoint of this very moment."""
        checkpoint = Checkpoint(self.config, self.progress, self.learner.tensors())
        return save_checkpoint(self.folder / "checkpoints", checkpoint)

    def read(self) -> Mapping[str, Reading]:
        """Read the validation documents, write a row of the curve and the samples, keep the model if it is the best."""
        with self.learner.precision():
            bits = self.lesson.read(self.learner.best_guess)
        train = sum(self._losses) / max(1, len(self._losses))
        self._losses = []
        rate = self._rate()
        self.curve.add(self.progress, self.progress.step / self.lesson.batches.per_epoch, rate, train, bits)
        reading = headline(bits["all"])
        better = reading < self.progress.best
        if better:
            self.progress = replace(self.progress, best=reading, best_step=self.progress.step, readings_since_best=0)
            self._keep_best(bits)
        else:
            self.progress = replace(self.progress, readings_since_best=self.progress.readings_since_best + 1)
        self._sample()
        note = "the best so far" if better else f"best {self.progress.best:.4f} at step {self.progress.best_step}"
        say(f"validation: {reading:.4f} bits/{self.lesson.unit}, train {train:.4f} ({note})")
        return bits

    def _rate(self) -> float:
        return learning_rate(self.progress.step, self.done, self.config)

    def _step(self) -> None:
        pieces = self.lesson.batches.at(self.progress.step)
        loss = self.learner.learn(pieces, self._rate(), self.progress.step)
        tokens = self.progress.tokens + sum(piece.tokens for piece in pieces)
        self.progress = replace(self.progress, step=self.progress.step + 1, tokens=tokens)
        if loss is not None:
            self._losses.append(loss)
            self._skipped_in_a_row = 0
            return
        self.progress = replace(self.progress, skipped=self.progress.skipped + 1)
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"the gradient was not finite for {MOST_SKIPPED_IN_A_ROW} steps in a row: lower learning_rate"
            )

    _skipped_in_a_row = 0

    def _report(self, speed: float) -> None:
        recent = self._losses[-50:]
        loss = sum(recent) / len(recent) if recent else math.nan
        left = self.progress.seconds * (1 - self.done) / max(self.done, 1e-9) / 60
        epoch = self.progress.step / self.lesson.batches.per_epoch
        say(
            f"step {self.progress.step}, epoch {epoch:.1f}: {loss:.3f} bits/{self.lesson.unit}, {speed:,.0f} tokens/s, "
            f"rate {self._rate():.2e}, gradient {self.learner.gradient_norm:.2f}, {self.progress.skipped} skipped, "
            f"{left:.0f} min left"
        )

    def _keep_best(self, bits: Mapping[str, Reading]) -> None:
        aside = self.folder / ".best.part"
        shutil.rmtree(aside, ignore_errors=True)
        export_model(aside, self.learner.best_guess, self.config, self.progress, bits)
        shutil.rmtree(self.folder / "best", ignore_errors=True)
        aside.rename(self.folder / "best")

    def _sample(self) -> None:
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        with self.learner.precision():
            path = folder / f"step-{self.progress.step:07d}"
            self.lesson.write_samples(self.learner.best_guess, path, f"Step {self.progress.step}")

    @contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the loop after the step under way."""

        def stop(_signal: int, _frame: object) -> None:
            self.stopping = True

        before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(line, file=sys.stderr, flush=True)
