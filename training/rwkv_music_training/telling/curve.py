"""The numbers of a run on disk: a CSV row for every reading, a line of JSON for every step."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rwkv_music_training.learning.watching import Begun, Quiet, Reading, Step

CURVE, STEPS = "curve.csv", "steps.jsonl"
COLUMNS = ("step", "epoch", "tokens", "seconds", "rate", "train", "valid")
MOST_LINE = 1 << 16


class CurveError(ValueError):
    """A curve file that cannot be read; the message names the file and the rule."""


class Ledger(Quiet):
    """Keeps curve.csv (bits a token, of training and validation, the latter by source too) and steps.jsonl."""

    def __init__(self) -> None:
        self._curve = self._steps = Path()

    def begin(self, event: Begun) -> None:
        """See `Watcher`; what an earlier try wrote of later steps is dropped."""
        self._curve, self._steps = event.folder / CURVE, event.folder / STEPS
        if self._curve.is_file():
            _write(self._curve, [row for row in read_curve(self._curve) if int(row["step"]) <= event.progress.step])
        if self._steps.is_file():
            kept = [line for line in read_steps(self._steps) if line["step"] <= event.progress.step]
            aside = self._steps.with_suffix(".part")
            aside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            aside.replace(self._steps)

    def step(self, event: Step) -> None:
        """See `Watcher`."""
        told = {
            "step": event.step,
            "tokens": event.tokens_so_far,
            "seconds": round(event.seconds_so_far, 3),
            "tokens_per_second": round(event.tokens / max(event.seconds, 1e-9), 1),
            "loss_bits": _finite(event.loss / math.log(2)),
            "rate": event.rate,
            "gradient_norm": _finite(event.gradient_norm),
            "skipped": event.skipped_so_far,
        }
        with self._steps.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")

    def reading(self, event: Reading) -> None:
        """See `Watcher`."""
        row = {
            "step": str(event.step),
            "epoch": f"{event.epoch:.3f}",
            "tokens": str(event.tokens),
            "seconds": f"{event.seconds:.1f}",
            "rate": f"{event.rate:.3e}",
            "train": f"{event.train / math.log(2):.4f}",
            "valid": f"{event.valid / math.log(2):.4f}",
        }
        row |= {f"valid {source}": f"{nats / math.log(2):.4f}" for source, nats in event.sources.items()}
        _write(self._curve, [*(read_curve(self._curve) if self._curve.is_file() else []), row])


def _finite(value: float) -> float | None:
    """A number as JSON takes it."""
    return round(value, 6) if math.isfinite(value) else None


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    aside = path.with_suffix(".part")
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    aside.replace(path)


def read_curve(path: Path) -> list[dict[str, str]]:
    """The rows of a curve file, at least one. Raises CurveError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CurveError(f"{path}: cannot be read ({error})") from error
    for number, row in enumerate(rows, start=2):
        if not all(_is_number(row.get(name)) for name in COLUMNS):
            raise CurveError(f"{path}, line {number}: the columns {', '.join(COLUMNS)} must hold numbers")
    if not rows:
        raise CurveError(f"{path}: a curve has at least one row")
    return rows


def read_steps(path: Path) -> list[Mapping[str, Any]]:
    """The lines of a file of steps; one that was cut short, as by a lost machine, is left out."""
    found = []
    with path.open(encoding="utf-8", errors="replace") as file:
        while line := file.readline(MOST_LINE):
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if isinstance(told, dict) and isinstance(told.get("step"), int):
                found.append(told)
    return found


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True
