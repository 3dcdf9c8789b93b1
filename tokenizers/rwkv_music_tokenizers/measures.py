"""Where the beats fall: the meter of every bar, and how far into a full measure a short bar begins."""

from dataclasses import dataclass
from fractions import Fraction

from rwkv_music_tokenizers.score import Meter, Score
from rwkv_music_tokenizers.timeline import bar_onsets


@dataclass(frozen=True)
class Measure:
    """One bar's onset and length in quarters, its meter, and the place in a full measure where it begins.

    `start` is not 0 for a pickup and for a bar that only completes a measure which a repeat sign has cut in two.
    """

    onset: Fraction
    length: Fraction
    meter: Meter
    start: Fraction

    def place(self, onset: Fraction) -> Fraction:
        """Where in the measure an onset (from the beginning of the piece) falls, in quarters."""
        return self.start + onset - self.onset


def measures(score: Score) -> list[list[Measure]]:
    """For each part its bars as measures. A meter change counts for the whole of the bar that it stands in."""
    return [_part_measures(score, number, onsets) for number, onsets in enumerate(bar_onsets(score.parts))]


def _part_measures(score: Score, number: int, onsets: list[Fraction]) -> list[Measure]:
    found: list[Measure] = []
    meter = score.meter
    for count, bar in enumerate(score.parts[number].bars):
        meter = next((item for item in bar.items if isinstance(item, Meter)), meter)
        length = bar.longest
        start = Fraction(0)
        if meter.bar is not None and length < meter.bar:
            if not found:
                start = meter.bar - length
            elif found[-1].start == 0 and found[-1].length + length == meter.bar:
                start = found[-1].length
        found.append(Measure(onsets[count], length, meter, start))
    return found
