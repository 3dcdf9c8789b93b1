"""What is kept of a finished piece: the work in any format, the line that tells its making, the state to go on from."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rwkv_music import __version__
from rwkv_music.compose import Piece
from rwkv_music.files import write_whole
from rwkv_music.making import Making
from rwkv_music.render.works import save_work
from rwkv_music.snapshots import Snapshot
from rwkv_music.works import Work


@dataclass(frozen=True, eq=False)
class Made:
    """A finished piece, and the line that tells its making."""

    work: Work
    making: str

    def remembered(self) -> str:
        """As ABC, with its making as a comment at the end."""
        return f"{self.work.abc}% {self.making}\n"

    def save(self, path: Path, soundfont: Path | None = None, *, accompaniment: bool = True) -> None:
        """Write it in the format of the path's suffix, whole or not at all. Raises like `save_work`."""
        if path.suffix.lower() == ".abc":
            write_whole(path, self.remembered().encode())
        else:
            save_work(self.work, path, soundfont=soundfont, accompaniment=accompaniment, remarks=[self.making])


def making_of(piece: Piece, model: str) -> Making:
    """How a piece was made with the model opened as `model`, by the threads that compute now."""
    engine, threads = piece.engine, torch.get_num_threads()
    return Making(
        __version__, model, engine.hash, str(engine.device), _dtype(piece), threads, piece.runs, piece.manuscript.prompt
    )


def snapshot_of(piece: Piece, model: str) -> Snapshot:
    """The piece at this moment, with the number type that it was made in."""
    snapshot = piece.snapshot(model)
    label = snapshot.label
    return replace(snapshot, label=replace(label, story={**label.story, "dtype": _dtype(piece)}))


def _dtype(piece: Piece) -> str:
    return str(piece.engine.dtype).removeprefix("torch.")
