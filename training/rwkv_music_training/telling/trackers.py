"""Loggers that people may have: TensorBoard, trackio and wandb, each imported only where it is asked for."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from rwkv_music.errors import UserError
from rwkv_music_training.learning.watching import Begun, End, Quiet, Reading, Step

NAMES = ("tensorboard", "trackio", "wandb")
# Steps between two of which the numbers are passed on.
EVERY = 10


class TrackerError(UserError):
    """A logger that is not installed, or not known."""


class Board(Protocol):
    """Where numbers go."""

    def begin(self, event: Begun) -> None: ...

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Tracker(Quiet):
    """Passes a run on to a logger."""

    def __init__(self, board: Board):
        self._board = board

    def begin(self, event: Begun) -> None:
        """See `Watcher`."""
        self._board.begin(event)

    def step(self, event: Step) -> None:
        """See `Watcher`."""
        if event.step % EVERY == 0 and math.isfinite(event.loss):
            numbers = {
                "train/bits_per_token": event.loss / math.log(2),
                "train/gradient_norm": event.gradient_norm,
                "train/learning_rate": event.rate,
                "train/tokens_per_second": event.tokens / max(event.seconds, 1e-9),
                "train/tokens": float(event.tokens_so_far),
                "train/skipped_steps": float(event.skipped_so_far),
            }
            self._board.log(event.step, numbers)

    def reading(self, event: Reading) -> None:
        """See `Watcher`."""
        sources = {f"valid/{source}": nats / math.log(2) for source, nats in event.sources.items()}
        self._board.log(event.step, {"valid/bits_per_token": event.valid / math.log(2), **sources})

    def end(self, event: End) -> None:
        """See `Watcher`."""
        self._board.close()


def tracker(name: str) -> Tracker:
    """The watcher of a logger by name. Raises TrackerError."""
    try:
        if name == "tensorboard":
            return Tracker(TensorBoard())
        if name in ("trackio", "wandb"):
            return Tracker(Wandb(name))
    except ImportError as error:
        raise TrackerError(f"{name} is not installed ({error}): pip install 'rwkv-music[track]'") from None
    raise TrackerError(f"{name!r} is no logger; there are {', '.join(NAMES)}")


class TensorBoard:
    """Event files in the folder `tensorboard` of the run."""

    def __init__(self) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._open = SummaryWriter
        self._writer: Any = None

    def begin(self, event: Begun) -> None:
        """See `Board`."""
        self._writer = self._open(str(event.folder / "tensorboard"), purge_step=event.progress.step + 1)
        self._writer.add_text("config", f"```json\n{event.config.model_dump_json(indent=1)}\n```")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Board`."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Board`."""
        self._writer.close()


class Wandb:
    """wandb, or trackio, which is spoken to in the same words. A run that goes on is the same run there."""

    def __init__(self, package: str) -> None:
        import importlib

        self._package = package
        self._module = importlib.import_module(package)
        self._run: Any = None

    def begin(self, event: Begun) -> None:
        """See `Board`."""
        options: dict[str, Any] = {"project": "rwkv-music", "name": event.config.name, "resume": "allow"}
        if self._package == "wandb":
            options |= {"dir": str(event.folder), "id": event.folder.resolve().name}
        self._run = self._module.init(config=event.config.model_dump(mode="json"), **options)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Board`."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """See `Board`."""
        self._run.finish()
