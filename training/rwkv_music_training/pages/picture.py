"""The learning curve as a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """How the curve of one kind of model is drawn."""

    # Label, column and colour of each line, from the top of the picture down, of those that a curve has; the best
    # validation reading is marked.
    lines: tuple[tuple[str, str, str], ...]
    # What the model reads: one, and many.
    unit: str
    units: str


ABC_DRAWING = Drawing(
    (
        ("validation, music after K: alone", "valid body", "#7570b3"),
        ("validation", "valid", "#1b9e77"),
        ("training (dropout on, tunes transposed)", "train", "#d95f02"),
    ),
    "character",
    "characters",
)
NOTES_DRAWING = Drawing(
    (("validation", "valid", "#1b9e77"), ("training (sources evened out, transposed)", "train", "#d95f02")),
    "token",
    "tokens",
)
VALID_COLOUR = "#1b9e77"


def draw_curve(rows: Sequence[Mapping[str, str]], path: Path, title: str, drawing: Drawing) -> None:
    """Write the rows of a curve file as an SVG picture: bits over what was read."""
    read = [int(row["tokens"]) / 1e6 for row in rows]
    # Text as text, and nothing of the moment: the same rows give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "curve", "font.family": "sans-serif"}):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.subplots()
        lines = [line for line in drawing.lines if all(row.get(line[1]) for row in rows)]
        for label, column, colour in lines:
            axes.plot(read, [float(row[column]) for row in rows], label=label, color=colour, linewidth=1.6)
        best = min(rows, key=lambda row: float(row["valid"]))
        place = (int(best["tokens"]) / 1e6, float(best["valid"]))
        axes.plot(*place, "o", color=VALID_COLOUR, markersize=5)
        axes.annotate(f"{place[1]:.3f}", place, (0, -14), textcoords="offset points", ha="right", fontsize=9)
        axes.set(xlabel=f"{drawing.units} read (millions)", ylabel=f"bits per {drawing.unit}", title=title)
        axes.set_xlim(0, 1.02 * read[-1])
        above = axes.twiny()
        above.set_xlim(0, 1.02 * float(rows[-1]["epoch"]))
        above.set_xlabel("epochs")
        axes.set_ylim(bottom=0.8 * min(float(row[column]) for row in rows for _, column, _ in lines))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
