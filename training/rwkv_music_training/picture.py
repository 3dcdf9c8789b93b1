"""The learning curve as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Label, column and colour of each line, from the top of the picture down.
LINES = (
    ("validation, music after K: alone", "valid body", "#7570b3"),
    ("validation", "valid", "#1b9e77"),
    ("training (dropout on, tunes transposed)", "train", "#d95f02"),
)


def draw_curve(rows: Sequence[Mapping[str, str]], path: Path, title: str) -> None:
    """Write the rows of a curve file as an SVG picture: bits a character over characters read."""
    read = [int(row["tokens"]) / 1e6 for row in rows]
    # Text as text, and nothing of the moment: the same rows give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "curve", "font.family": "sans-serif"}):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.subplots()
        for label, column, colour in LINES:
            axes.plot(read, [float(row[column]) for row in rows], label=label, color=colour, linewidth=1.6)
        best = min(rows, key=lambda row: float(row["valid"]))
        place = (int(best["tokens"]) / 1e6, float(best["valid"]))
        axes.plot(*place, "o", color=LINES[1][2], markersize=5)
        axes.annotate(f"{place[1]:.3f}", place, (0, -14), textcoords="offset points", ha="right", fontsize=9)
        axes.set(xlabel="characters read (millions)", ylabel="bits per character", title=title)
        axes.set_xlim(0, 1.02 * read[-1])
        above = axes.twiny()
        above.set_xlim(0, 1.02 * float(rows[-1]["epoch"]))
        above.set_xlabel("epochs")
        axes.set_ylim(bottom=0.8 * min(float(row[column]) for row in rows for _, column, _ in LINES))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
