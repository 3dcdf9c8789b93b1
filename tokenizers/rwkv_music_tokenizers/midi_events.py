"""The events of a MIDI file as they stand in it, track by track, each at its absolute tick."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["on", "off", "program", "control", "bend", "tempo", "meter", "key", "name", "text", "end"]


class MidiEvent(NamedTuple):
    """One event. A note-on of velocity 0 is "off"; what no reader of ours needs is not here, its time is."""

    # Since the beginning of the track.
    tick: int
    kind: Kind
    # 0..15; -1 of what belongs to no channel.
    channel: int
    # on, off: pitch, velocity. program: program, 0. control: number, value. bend: value -8192..8191, 0.
    # tempo: microseconds a quarter, 0. meter: beats, note of a beat. key: fifths, 1 for minor.
    first: int = 0
    second: int = 0
    # name, text: the text.
    text: str = ""


@dataclass(frozen=True)
class MidiStream:
    """A MIDI file."""

    # 0, 1 or 2.
    type: int
    # Ticks of a quarter note; of a file that counts in frames of film, those of half a second, and no tempo holds.
    ticks: int
    tracks: tuple[tuple[MidiEvent, ...], ...]
    # What was mended, one line each.
    repairs: tuple[str, ...] = ()
