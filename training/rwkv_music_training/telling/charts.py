"""Lines over what was read, as SVG that stands in a page: no script, no fonts, nothing from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

WIDTH, HEIGHT = 720.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 12.0, 12.0, 34.0
COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#a6761d")
# More points than pixels show nothing more.
MOST_POINTS = 600


@dataclass(frozen=True)
class Line:
    """One line of a chart; points that are not finite are left out."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(lines: Sequence[Line], across: str, up: str) -> str:
    """An <svg> of lines; `across` and `up` say what the axes count. "" where there is nothing to draw."""
    kept = [Line(line.name, thinned([point for point in line.points if all(map(isfinite, point))])) for line in lines]
    kept = [line for line in kept if line.points]
    if not kept:
        return ""
    xs = [x for line in kept for x, _ in line.points]
    ys = [y for line in kept for _, y in line.points]
    across_marks, up_marks = marks(min(xs), max(xs)), marks(min(ys), max(ys))
    left, right = min(across_marks[0], min(xs)), max(across_marks[-1], max(xs))
    low, high = min(up_marks[0], min(ys)), max(up_marks[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - left) / max(right - left, 1e-12) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low) / max(high - low, 1e-12) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<path d="M{LEFT:g} {place(left, mark)[1]:.1f}H{WIDTH - RIGHT:g}" stroke="currentColor" opacity=".15"/>'
        f'<text x="{LEFT - 6:g}" y="{place(left, mark)[1] + 4:.1f}" text-anchor="end">{_short(mark)}</text>'
        for mark in up_marks
    ]
    parts += [
        f'<text x="{place(mark, low)[0]:.1f}" y="{HEIGHT - BOTTOM + 16:g}" text-anchor="middle">{_short(mark)}</text>'
        for mark in across_marks
    ]
    for number, line in enumerate(kept):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in line.points))
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(line.points) == 1:
            x, y = place(*line.points[0])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>')
        parts.append(
            f'<text x="{WIDTH - RIGHT - 4:g}" y="{TOP + 14 * number + 10:g}" fill="{colour}" text-anchor="end">'
            f"{escape(line.name)}</text>"
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 2:g}" text-anchor="middle">{escape(across)}</text>'
    )
    parts.append(
        f'<text transform="translate(11 {(HEIGHT - BOTTOM) / 2:g}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(up)} over {escape(across)}" '
        f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" width="100%" font-family="sans-serif" font-size="11" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )


def marks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers that span a range, at most `most` and two."""
    if high <= low:
        return [low]
    step = 10 ** floor(log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    return [step * number for number in range(floor(low / step), ceil(high / step) + 1)]


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS points, each the mean of its neighbours."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = len(points) / MOST_POINTS
    found = []
    for number in range(MOST_POINTS):
        some = points[int(number * size) : int((number + 1) * size)]
        found.append((sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)))
    return found


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
