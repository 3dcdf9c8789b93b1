"""The page that remains of a run: curves, numbers, samples as sheet and sound, settings, all in one file of HTML."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rwkv_music import __version__
from rwkv_music.files import write_whole
from rwkv_music.music.page import audio
from rwkv_music.render.errors import RenderError
from rwkv_music.render.sheet import svg
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_training.judging.html import STYLE, html_table
from rwkv_music_training.learning.watching import Begun, End, Quiet
from rwkv_music_training.telling.charts import Line, chart
from rwkv_music_training.telling.curve import CURVE, STEPS, read_curve, read_steps
from rwkv_music_training.telling.limits import Limit, measure_limit
from rwkv_music_training.telling.live import duration

PAGE = "report.html"
# Samples that are shown with sheet and sound, seconds of each, and bytes that their files may have.
MOST_SAMPLES, MOST_SECONDS, MOST_BYTES = 4, 20, 1 << 20
MORE_STYLE = """img{max-width:100%;background:#fff}pre{overflow-x:auto;background:#8881;padding:.7em}
.numbers{display:flex;flex-wrap:wrap;gap:.6em 2.2em}.numbers b{display:block;font-size:1.5em;font-weight:600}"""


class PageWriter(Quiet):
    """Writes report.html into the folder of a run when it is over, or stopped for now."""

    def __init__(self) -> None:
        self._begun: Begun | None = None

    def begin(self, event: Begun) -> None:
        """See `Watcher`."""
        self._begun = event

    def end(self, event: End) -> None:
        """See `Watcher`."""
        if self._begun is None:
            return
        begun, machine = self._begun, self._begun.config.machine
        limit = measure_limit(begun.spec, begun.device, machine.precision, machine.threads, begun.processes)
        write_whole(begun.folder / PAGE, run_page(begun, event, limit).encode())


def run_page(begun: Begun, end: End, limit: Limit) -> str:
    """The page of a run, from what lies in its folder."""
    folder, name = begun.folder, begun.config.name
    curve = read_curve(folder / CURVE) if (folder / CURVE).is_file() else []
    steps = read_steps(folder / STEPS) if (folder / STEPS).is_file() else []
    parts = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{escape(told(begun, end))}</p>",
        f'<div class="numbers">{"".join(_number(*one) for one in numbers(begun, end, limit))}</div>',
        "<h2>Curves</h2>",
        *charts(curve, steps),
        *(["<h2>By source</h2>", html_table(*sources(curve))] if curve else []),
        *samples(folder / "samples", end.progress.best_step),
        "<h2>Settings</h2>",
        html_table(("setting", "value"), settings(begun.config.model_dump(mode="json"))),
        f"<p>rwkv-music {escape(__version__)}</p>",
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>'
        f"<style>{STYLE}{MORE_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def told(begun: Begun, end: End) -> str:
    """What was trained, in a sentence."""
    spec, base = begun.spec, begun.config.base
    return (
        f"RWKV-{spec.version} of {spec.layers} layers and {spec.width} channels, {begun.learning:,} of "
        f"{begun.parameters:,} numbers learnt ({begun.config.method.name}"
        f"{f', from {base}' if base else ', from scratch'}); {end.reason} after {end.progress.step:,} steps."
    )


def numbers(begun: Begun, end: End, limit: Limit) -> list[tuple[str, str]]:
    """The few numbers that are asked for first: value and name."""
    progress = end.progress
    speed = progress.tokens / progress.seconds if progress.seconds else 0.0
    found = [
        (f"{progress.tokens:,}", "tokens read"),
        (f"{progress.step / max(1, begun.steps_per_epoch):.2f}", "epochs"),
        (duration(progress.seconds), f"on {begun.device}"),
        (f"{speed:,.0f}", f"tokens a second, {limit.share(speed):.0%} of the limit"),
        (str(progress.skipped), "steps left out"),
    ]
    if progress.best < float("inf"):
        found.insert(0, (f"{progress.best / math.log(2):.4f}", f"bits a token, best at step {progress.best_step:,}"))
    return found


def _number(value: str, name: str) -> str:
    return f"<span><b>{escape(value)}</b>{escape(name)}</span>"


def charts(curve: Sequence[Mapping[str, str]], steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Cost, speed, learning rate and gradient over the tokens read; those that there is nothing of are left out."""

    def of_curve(column: str) -> list[tuple[float, float]]:
        return [(float(row["tokens"]), float(row[column])) for row in curve if row.get(column)]

    def of_steps(column: str) -> list[tuple[float, float]]:
        return [(float(line["tokens"]), float(line[column])) for line in steps if line.get(column) is not None]

    drawn = [
        chart([Line("steps", of_steps("loss_bits")), Line("training", of_curve("train")), Line("validation", of_curve("valid"))],
              "tokens read", "bits a token"),
        chart([Line("tokens a second", of_steps("tokens_per_second"))], "tokens read", "tokens a second"),
        chart([Line("learning rate", of_steps("rate"))], "tokens read", "learning rate"),
        chart([Line("gradient norm", of_steps("gradient_norm"))], "tokens read", "gradient norm"),
    ]  # fmt: skip
    return [figure for figure in drawn if figure]


def sources(curve: Sequence[Mapping[str, str]]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Head and rows of a table: the first, best and last reading of every source."""
    best = min(curve, key=lambda row: float(row["valid"]))
    columns = [name for name in curve[-1] if name.startswith("valid")]
    shown = (("first", curve[0]), ("best", best), ("last", curve[-1]))
    rows = [(name.removeprefix("valid ") or name, *(row.get(name) or "–" for _, row in shown)) for name in columns]
    return ("bits a token", *(f"{name}, step {int(row['step']):,}" for name, row in shown)), list(rows)


def samples(folder: Path, best_step: int) -> list[str]:
    """What the model wrote at its best reading, or at the last there is."""
    steps = sorted({path.stem.rpartition("-")[0] for path in folder.glob("step-*-*.*")})
    if not steps:
        return []
    wanted = f"step-{best_step:07d}"
    step = wanted if wanted in steps else steps[-1]
    names = sorted({path.stem for path in folder.glob(f"{step}-*.*")})[:MOST_SAMPLES]
    return [
        f"<h2>What it wrote at step {int(step.partition('-')[2]):,}</h2>",
        *(_sample(folder / name) for name in names),
    ]


def _sample(path: Path) -> str:
    """Sheet, sound and text of one sample, as far as its files give them."""
    files = {suffix: path.with_suffix(suffix) for suffix in (".abc", ".mid", ".svg")}
    held = {
        suffix: file.read_bytes()
        for suffix, file in files.items()
        if file.is_file() and file.stat().st_size <= MOST_BYTES
    }
    abc = held.get(".abc", b"").decode("utf-8", "replace")
    parts = [f"<h3>{escape(path.name)}</h3>"]
    picture = _sheet(abc)
    if picture:
        parts.append(_image(picture.encode(), "sheet"))
    if ".svg" in held:
        parts.append(_image(held[".svg"], "piano roll"))
    if ".mid" in held:
        try:
            parts.append(audio(read_midi(held[".mid"]), MOST_SECONDS))
        except (RenderError, NotationError) as error:
            parts.append(f"<p>No sound: {escape(str(error))}</p>")
    if abc:
        parts.append(f"<details><summary>ABC</summary><pre>{escape(abc)}</pre></details>")
    return "\n".join(parts)


def _sheet(abc: str) -> str:
    """The sheet of a tune as SVG; "" where it cannot be engraved."""
    try:
        return svg(read_abc(abc)) if abc.strip() else ""
    except (NotationError, RenderError):
        return ""


def _image(picture: bytes, name: str) -> str:
    """A picture that can do nothing but be seen."""
    return f'<p><img alt="{name}" src="data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"></p>'


def settings(values: Mapping[str, Any], within: str = "") -> list[tuple[str, str]]:
    """All settings of a config, those of its parts with the part's name before them."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += settings(value, f"{within}{name}.")
        else:
            found.append((f"{within}{name}", str(value)))
    return found
