"""A run of four steps as its watchers see it, without training anything."""

import math
from pathlib import Path

import pytest
import torch

from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.progress import Progress
from rwkv_music_training.learning.watching import Begun, End, Reading, Sample, Step, Watcher

SPEC = new_spec(2, 64, 128)
NATS = math.log(2)


class Story:
    """What happens in a run, event by event; costs are given in bits."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.model = build_model(SPEC, initial_weights(SPEC, torch.Generator().manual_seed(0)), choose_kernels("cpu"))
        self.config = TrainingConfig(name="tiny <run>").but(habits={"prompts": ("", "M:4/4\nL:1/4\nK:D\nABcd|")})

    def begun(self, progress: Progress | None = None) -> Begun:
        return Begun(self.config, self.folder, SPEC, 1000, 900, 2, 4, "cpu", 1, progress or Progress())

    def step(self, number: int, loss: float = 3.0) -> Step:
        skipped = math.isnan(loss)
        done, seconds = number / 4, number / 2
        return Step(
            number, number / 2, done, NATS * loss, 1e-3, 0.5, skipped, int(skipped), 100, 100 * number, 0.5, seconds
        )

    def reading(self, number: int, valid: float) -> Reading:
        sources = {"songs": NATS * valid, "tunes": NATS * 2 * valid}
        return Reading(
            number,
            number / 2,
            100 * number,
            number / 2,
            1e-3,
            NATS * 3,
            NATS * valid,
            sources,
            True,
            NATS * valid,
            number,
        )

    def sample(self, number: int) -> Sample:
        (self.folder / "samples").mkdir(exist_ok=True)
        return Sample(number, self.model, State.zeros(SPEC, 1), self.folder / "samples")

    def end(self) -> End:
        return End(Progress(4, 0, 400, 2.0, NATS * 2.5, 4), "finished", self.folder / "best")

    def tell(self, *watchers: Watcher) -> None:
        """The whole run."""
        for watcher in watchers:
            watcher.begin(self.begun())
        for number in range(1, 5):
            for watcher in watchers:
                watcher.step(self.step(number))
                if number % 2 == 0:
                    watcher.reading(self.reading(number, 3.5 - number / 4))
                    watcher.sample(self.sample(number))
        for watcher in watchers:
            watcher.end(self.end())


@pytest.fixture
def story(tmp_path) -> Story:
    return Story(tmp_path)
