"""The learning curve of a run: one CSV row a reading, and its picture."""

import csv
from collections.abc import Mapping
from pathlib import Path

from rwkv_music_training.checkpoints import Progress
from rwkv_music_training.judging.readings import Reading, headline
from rwkv_music_training.telling.curve import CurveError, read_curve

__all__ = ["Curve", "CurveError", "read_curve"]


class Curve:
    """Rows of step, epoch, tokens, seconds, rate, training and validation bits, the latter by source too."""

    def __init__(self, path: Path):
        self.path = path

    def forget_after(self, step: int) -> None:
        """Drop the rows after a step, when a run goes back to a checkpoint."""
        if self.path.is_file():
            rows = read_curve(self.path)
            kept = [row for row in rows if int(row["step"]) <= step]
            self._write(kept)

    def add(self, progress: Progress, epoch: float, rate: float, train: float, valid: Mapping[str, Reading]) -> None:
        """Append one reading; `train` is the mean training loss in bits since the last one."""
        row: dict[str, str] = {
            "step": str(progress.step),
            "epoch": f"{epoch:.3f}",
            "tokens": str(progress.tokens),
            "seconds": f"{progress.seconds:.1f}",
            "rate": f"{rate:.3e}",
            "train": f"{train:.4f}",
        }
        row |= {cost.column: f"{cost.bits:.4f}" for cost in valid["all"].costs}
        row |= {f"valid {source}": f"{headline(one):.4f}" for source, one in valid.items() if source != "all"}
        self._write([*(read_curve(self.path) if self.path.is_file() else []), row])

    def _write(self, rows: list[dict[str, str]]) -> None:
        if not rows:
            self.path.unlink(missing_ok=True)
            return
        aside = self.path.with_suffix(".part")
        with aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[-1]))
            writer.writeheader()
            writer.writerows(rows)
        aside.replace(self.path)
