"""Loggers are told the numbers of a run, and a missing one is told in a line."""

import sys
from types import ModuleType

import pytest

from rwkv_music_training.telling.trackers import EVERY, Tracker, TrackerError, tracker


class Notes:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.begun, self.closed = 0, 0
        self.logged: list[tuple[int, dict[str, float]]] = []

    def begin(self, event) -> None:
        self.begun += 1

    def log(self, step, numbers) -> None:
        self.logged.append((step, dict(numbers)))

    def close(self) -> None:
        self.closed += 1


def test_numbers_are_passed_on(story):
    notes = Notes()
    watcher = Tracker(notes)
    story.tell(watcher)
    watcher.step(story.step(EVERY))
    watcher.step(story.step(2 * EVERY, float("nan")))
    assert notes.begun == notes.closed == 1
    assert [step for step, _ in notes.logged] == [2, 4, EVERY]
    assert notes.logged[1][1] == pytest.approx({"valid/bits_per_token": 2.5, "valid/songs": 2.5, "valid/tunes": 5})
    assert notes.logged[2][1]["train/bits_per_token"] == pytest.approx(3)


@pytest.mark.parametrize("package", ["trackio", "wandb"])
def test_loggers_of_one_manner_are_begun_told_and_finished(story, monkeypatch, package):
    notes, module = Notes(), ModuleType(package)
    told: dict[str, object] = {}

    class Run:
        def log(self, numbers, step):
            notes.log(step, numbers)

        def finish(self):
            notes.close()

    def init(**options):
        told.update(options)
        return Run()

    setattr(module, "init", init)  # noqa: B010
    monkeypatch.setitem(sys.modules, package, module)
    story.tell(tracker(package))
    assert told["name"] == "tiny <run>" and told["project"] == "rwkv-music"
    assert notes.closed == 1 and notes.logged[-1][0] == 4


def test_tensorboard_writes_event_files(story):
    story.tell(tracker("tensorboard"))
    assert list((story.folder / "tensorboard").glob("events.*"))


def test_a_logger_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrackerError, match=r"wandb is not installed .* pip install 'rwkv-music\[track\]'"):
        tracker("wandb")
    with pytest.raises(TrackerError, match="'paper' is no logger; there are tensorboard, trackio, wandb"):
        tracker("paper")
