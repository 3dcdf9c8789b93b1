"""A piano roll as SVG: time from left to right, pitch from the bottom up, a colour for each instrument."""

from collections.abc import Sequence
from itertools import groupby

from rwkv_music.music.take import PlayedNote

WIDTH, LEFT, BOTTOM = 960.0, 32.0, 16.0
# Height of a semitone, at most and at least.
THICK, THIN = 8.0, 3.0
HEIGHT = 240.0
# More than this would make a notebook slow.
MOST_NOTES = 20_000
COLOURS = ("#31688e", "#d1495b", "#66a182", "#edae49", "#7d5ba6", "#00798c", "#8d6a9f", "#a44a3f")
DRUMS = "#8a8a8a"
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
MOST_MARKS = 12


def colours(notes: Sequence[PlayedNote]) -> dict[tuple[int, bool], str]:
    """The colour of each instrument: (program, drums) in the order of their numbers."""
    players = sorted({(note.program, note.drums) for note in notes}, key=lambda player: (player[1], player[0]))
    return {player: DRUMS if player[1] else COLOURS[place % len(COLOURS)] for place, player in enumerate(players)}


def roll(notes: Sequence[PlayedNote]) -> str:
    """The <svg> of notes, which must be some; at most the first MOST_NOTES are drawn."""
    drawn = sorted(notes)[:MOST_NOTES]
    seconds = max(note.end_s for note in drawn)
    low, high = min(note.pitch for note in drawn) - 1, max(note.pitch for note in drawn) + 1
    thick = max(THIN, min(THICK, HEIGHT / (high - low + 1)))
    scale = (WIDTH - LEFT) / max(seconds, 1e-3)
    height = thick * (high - low + 1)

    def top(pitch: int) -> float:
        return (high - pitch) * thick

    lines = [
        f'<path d="M{LEFT:g} {top(pitch) + thick:g}H{WIDTH:g}" stroke="#ddd"/>'
        f'<text x="2" y="{top(pitch) + thick:g}">C{pitch // 12 - 1}</text>'
        for pitch in range(low, high + 1)
        if pitch % 12 == 0
    ]
    lines += [
        f'<path d="M{LEFT + second * scale:.1f} 0V{height:g}" stroke="#eee"/>'
        f'<text x="{LEFT + second * scale:.1f}" y="{height + 12:g}">{second} s</text>'
        for second in _marks(seconds)
    ]
    shapes = [
        f'<path fill="{colour}" d="{"".join(_shape(note, scale, top(note.pitch), thick) for note in own)}"/>'
        for colour, own in _by_colour(drawn)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="piano roll" width="100%" '
        f'viewBox="0 0 {WIDTH:g} {height + BOTTOM:g}" font-family="sans-serif" font-size="10" fill="#666">'
        f"{''.join(lines)}{''.join(shapes)}</svg>"
    )


def _marks(seconds: float) -> range:
    """The seconds that are written below."""
    step = next((step for step in STEPS if seconds / step <= MOST_MARKS), STEPS[-1] * (1 + int(seconds // 36_000)))
    # What is written at the very end would be cut off.
    return range(0, int(0.97 * seconds) + 1, step)


def _by_colour(notes: Sequence[PlayedNote]) -> list[tuple[str, list[PlayedNote]]]:
    chosen = colours(notes)

    def colour(note: PlayedNote) -> str:
        return chosen[note.program, note.drums]

    return [(found, list(own)) for found, own in groupby(sorted(notes, key=colour), key=colour)]


def _shape(note: PlayedNote, scale: float, top: float, thick: float) -> str:
    # A gap of a pixel keeps repeated notes apart.
    width = max(1.0, (note.end_s - note.start_s) * scale - 1)
    return f"M{LEFT + note.start_s * scale:.1f} {top + 0.5:g}h{width:.1f}v{thick - 1:g}h-{width:.1f}z"
