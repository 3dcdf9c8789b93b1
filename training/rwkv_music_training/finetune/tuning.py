"""Teach a model a folder of music: look at it, choose, try a few steps, learn until it gets no better, and keep the best."""

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model, tidy
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.corpus.augment import Augmentation
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.finetune.base import Base, choose_base
from rwkv_music_training.finetune.choices import Music, augment_of, choose_config
from rwkv_music_training.finetune.comparing import Comparison, cost_of, openings_of, write_samples
from rwkv_music_training.finetune.material import Material, build_corpus, divide
from rwkv_music_training.finetune.preflight import Preflight
from rwkv_music_training.finetune.result import Place, Result, keep_result
from rwkv_music_training.finetune.trial import Trial, measure
from rwkv_music_training.finetune.wishes import FinetuneError, Wishes
from rwkv_music_training.judging.predictors import ModelPredictor
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.learning.watching import Quiet, Reading, Sample, Step, Watcher
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import Parallel, setup
from rwkv_music_training.telling.curve import Ledger
from rwkv_music_training.telling.page import PageWriter
from rwkv_music_training.telling.trackers import tracker

Say = Callable[[str], None]
# Seconds that samples and packing may take, before and after.
COMPARING = 10.0
# Of the time that is left before the limit, the share that learning may plan to take.
PLANNED = 0.9


class Best(Quiet):
    """Holds on to the best model so far as it is in memory."""

    def __init__(self) -> None:
        self.model: Model | None = None
        self.start: State | None = None
        self._is_best = False

    def reading(self, event: Reading) -> None:
        """See `Watcher`."""
        self._is_best = event.is_best

    def sample(self, event: Sample) -> None:
        """See `Watcher`."""
        if self._is_best:
            self.model, self.start = event.model, event.start


class Deadline(Quiet):
    """Ends a run when its time is over."""

    def __init__(self, at: float):
        """at: on the monotonic clock."""
        self._at = at
        self.stop: Callable[[], None] = lambda: None

    def step(self, event: Step) -> None:
        """See `Watcher`."""
        if time.monotonic() >= self._at:
            self.stop()


@dataclass(frozen=True)
class Clock:
    """When the command began, and when it has to be over; infinity for never."""

    begun: float
    over: float

    @classmethod
    def of(cls, minutes: float) -> "Clock":
        """From now on so many minutes; 0 for as long as it takes."""
        begun = time.monotonic()
        return cls(begun, begun + 60 * minutes if minutes else math.inf)

    @property
    def left(self) -> float:
        """Seconds until it has to be over."""
        return self.over - time.monotonic()


def finetune(
    places: Sequence[Path],
    place: Place,
    wishes: Wishes,
    *,
    look: bool,
    say: Say,
    show: Callable[[Preflight], None],
    watchers: Sequence[Watcher],
) -> Result | None:
    """Teach music to a model, and keep the result in its place; with `look` only tell what would happen.

    say: progress; show: what is going to happen; watchers: of the run. Returns None after a look, and on every process
    but the first. Raises FinetuneError, CorpusError, ConfigError, TrainingError, and like `choose_base`; what was made
    in vain is taken away.
    """
    clock = Clock.of(wishes.minutes)
    base = choose_base(wishes.base, places)
    parallel = setup(Layout(accelerator=wishes.device))
    work = place.folder.with_name(f".{place.folder.name}.making")
    try:
        if parallel.first:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            say(f"reading {', '.join(map(str, places))} for {base.name}")
            build_corpus(places, work / "corpus", base.code, processes=os.cpu_count() or 1, say=say)
        parallel.wait()
        material = divide(
            Corpus.open(work / "corpus"),
            Augmentation(**augment_of(base.code).model_dump()),
            wishes.held_out,
            wishes.seed,
        )
        tuning = Tuning(base, material, place, work, wishes, clock, parallel, say)
        if parallel.first:
            show(tuning.preflight)
        return None if look else tuning.run(watchers)
    finally:
        parallel.close()
        if parallel.first:
            shutil.rmtree(work, ignore_errors=True)


class Tuning:
    """One fine-tuning whose music has been read. Making it takes a few steps on trial."""

    def __init__(
        self,
        base: Base,
        material: Material,
        place: Place,
        work: Path,
        wishes: Wishes,
        clock: Clock,
        parallel: Parallel,
        say: Say,
    ):
        self._base, self._material, self._place, self._work = base, material, place, work
        self._wishes, self._clock, self._parallel, self._say = wishes, clock, parallel, say
        self._lesson = Lesson(
            base.code,
            base.spec.vocabulary,
            material.train,
            material.held,
            origin=f"{len(material.train.lengths):,} pieces",
        )
        self.preflight = self._look()

    def _look(self) -> Preflight:
        lengths = self._material.train.lengths
        music = Music(len(lengths), int(lengths.sum()), int(lengths.max()))
        wished = choose_config(self._place.name, self._base, music, self._wishes)
        trial = measure(wished, self._lesson, self._parallel)
        config = self._shortened(wished, trial)
        return Preflight(self._base, self._material, config, trial, wished.schedule.steps)

    def _shortened(self, config: TrainingConfig, trial: Trial) -> TrainingConfig:
        """As many steps as there is time for: a rate that has come down to its end is worth more than the steps."""
        readings = -(-config.schedule.steps // config.habits.read_every)
        share = PLANNED * self._learning_seconds(trial) / trial.seconds(config.schedule.steps, readings)
        if share >= 1:
            return config
        steps = int(share * config.schedule.steps)
        if steps < 1:
            raise FinetuneError(
                f"{self._wishes.minutes:g} minutes are too short: a step takes {trial.step_seconds:.1f} s here"
            )
        every = max(1, steps * config.habits.read_every // config.schedule.steps)
        return config.but(
            schedule={"steps": steps, "warmup": min(config.schedule.warmup, steps // 10)}, habits={"read_every": every}
        )

    def _learning_seconds(self, trial: Trial) -> float:
        """What is left for learning, with a last reading and the comparison of the models before and after to come."""
        return self._clock.left - 2 * COMPARING - 3 * trial.reading_seconds

    def run(self, watchers: Sequence[Watcher]) -> Result | None:
        """Learn, compare, keep. Raises FinetuneError where the pieces held out were never read better than before."""
        config, trial = self.preflight.config, self.preflight.trial
        best = Best()
        boards = [tracker(name) for name in config.habits.track]
        deadline = Deadline(time.monotonic() + self._learning_seconds(trial))
        run = Run(
            config,
            self._lesson,
            self._work / "run",
            self._parallel,
            watchers=[Ledger(), *boards, deadline, *watchers, best, PageWriter()],
            reads_when_stopped=True,
        )
        deadline.stop = run.stop
        # Only what reads the pieces held out better than the model did before is kept.
        run.progress = replace(run.progress, best=trial.nats)
        progress = run.run()
        if not self._parallel.first:
            return None
        if best.model is None:
            raise FinetuneError(
                f"the pieces held out cost {trial.nats / math.log(2):.3f} bits a token before and never less after "
                f"{progress.step:,} steps: there is nothing to keep; try more music, another --method or a lower --rate"
            )
        return self._kept(ModelPredictor(best.model, best.start), run)

    def _kept(self, after: ModelPredictor, run: Run) -> Result:
        """Compare before and after, and keep the result."""
        spec = self._base.spec
        weights = tidy(load_weights(self._base.files.weights), spec)
        weights = {name: tensor.float() for name, tensor in weights.items()}
        before = ModelPredictor(build_model(spec, weights, choose_kernels("cpu")))
        self._say("comparing the model before and after")
        costs = [cost_of(predictor, self._material.held) for predictor in (before, after)]
        if self._wishes.samples:
            self._write_samples({"before": before, "after": after}, run.config)
        comparison = Comparison(self._base.code, *costs)
        return keep_result(self._place, self._work, self.preflight, comparison, run.progress)

    def _write_samples(self, predictors: Mapping[str, ModelPredictor], config: TrainingConfig) -> None:
        """Pieces of each, from the same beginnings."""
        openings = openings_of(self._material.held, self._base.code)
        for name, predictor in predictors.items():
            write_samples(predictor, openings, self._base.code, self._work / "samples" / name, config)
