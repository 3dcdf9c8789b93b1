"""Music as it is played: notes in ticks, by instrument, with the tempos, meters and keys that they are played in.

What a MIDI file holds, and what MIDI codecs encode and decode; a `Score` is what is written, this is what sounds.
Arrays are int64 and read-only. No I/O here.
"""

from dataclasses import dataclass, field, replace

import numpy as np

# Columns of `Track.notes`.
START, END, PITCH, VELOCITY = range(4)
# The last tick, which is what a delta time of MIDI can say.
MAX_TICK = 0x0FFFFFFF
# Microseconds a quarter, and meter, where a piece tells none: 120 quarters a minute, 4/4.
DEFAULT_TEMPO = 500_000
DEFAULT_METER = (4, 4)


def rows(values: object, columns: int) -> np.ndarray:
    """Read-only int64 rows (n, columns) of a sequence of tuples or an array; (0, columns) of nothing."""
    table = np.array(values, dtype=np.int64).reshape(-1, columns)
    table.flags.writeable = False
    return table


@dataclass(frozen=True, eq=False)
class Track:
    """What one instrument plays."""

    # (n, 4): start, end, pitch 0..127, velocity 1..127; start < end; sorted by start, then pitch, then end.
    notes: np.ndarray
    # General MIDI, 0..127; of drums the kit.
    program: int = 0
    drums: bool = False
    name: str = ""
    # (m, 2): when the sustain pedal goes down and comes up; neither overlap nor touch.
    pedals: np.ndarray = field(default_factory=lambda: rows([], 2))

    def until(self, tick: int) -> "Track":
        """What begins before a tick; what lasts longer ends there."""
        notes = np.array(self.notes[self.notes[:, START] < tick])
        notes[:, END] = np.minimum(notes[:, END], tick)
        pedals = np.array(self.pedals[self.pedals[:, 0] < tick])
        pedals[:, 1] = np.minimum(pedals[:, 1], tick)
        return replace(self, notes=rows(notes, 4), pedals=rows(pedals, 2))


@dataclass(frozen=True, eq=False)
class Performance:
    """A piece as it is played."""

    tracks: tuple[Track, ...]
    # Ticks of a quarter note.
    ticks: int
    # (n, 2): tick, microseconds a quarter.
    tempos: np.ndarray = field(default_factory=lambda: rows([(0, DEFAULT_TEMPO)], 2))
    # (n, 3): tick, beats of a bar, the note that is a beat (4: a quarter).
    meters: np.ndarray = field(default_factory=lambda: rows([(0, *DEFAULT_METER)], 3))
    # (n, 3): tick, fifths -7..7, 1 for minor. Empty where the piece tells none.
    keys: np.ndarray = field(default_factory=lambda: rows([], 3))
    title: str = ""
    # What was mended or left out when the piece was read, one line each.
    repairs: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """The tick at which the last note ends; 0 of a piece without notes."""
        return max((int(track.notes[:, END].max()) for track in self.tracks if len(track.notes)), default=0)

    @property
    def count(self) -> int:
        """How many notes there are."""
        return sum(len(track.notes) for track in self.tracks)

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """When ticks (n,) sound, in seconds (n,) float64."""
        starts = self.tempos[:, 0]
        lengths = np.diff(starts) * self.tempos[:-1, 1]
        before = np.concatenate([[0], np.cumsum(lengths)])
        place = np.searchsorted(starts, ticks, side="right") - 1
        return (before[place] + (ticks - starts[place]) * self.tempos[place, 1]) / (1e6 * self.ticks)

    def until(self, tick: int) -> "Performance":
        """The beginning of the piece: what begins before a tick; what lasts longer ends there."""
        before = {name: getattr(self, name) for name in ("tempos", "meters", "keys")}
        kept = {name: rows(told[told[:, 0] < tick], told.shape[1]) for name, told in before.items()}
        return replace(self, tracks=tuple(track.until(tick) for track in self.tracks), **kept)
