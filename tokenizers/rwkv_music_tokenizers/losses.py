"""What any code loses of a piece, by comparing what comes out with what went in."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rwkv_music_tokenizers.performance import END, PITCH, START, VELOCITY, Performance

# Notes further apart are not the same one, in seconds.
FARTHEST = 0.25


@dataclass(frozen=True)
class Losses:
    """Times in milliseconds; the errors are those of the notes that are found again, onsets counted from the first."""

    notes: int
    notes_after: int
    found: int
    onset_mean_ms: float
    onset_max_ms: float
    length_mean_ms: float
    velocity_mean: float
    tracks: int
    tracks_after: int

    def plain(self) -> dict[str, Any]:
        """Everything as JSON data."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def compare(before: Performance, after: Performance) -> Losses:
    """What is lost from one performance to the other, note by note of the same pitch, drums apart."""
    here, there = _notes(before), _notes(after)
    errors = []
    for key in here.keys() & there.keys():
        old, new = here[key], there[key]
        first, place = _pairs(old[:, 0], new[:, 0])
        distance = np.abs(new[place, 0] - old[first, 0])
        lengths = new[place, 1] - new[place, 0] - (old[first, 1] - old[first, 0])
        errors.append(np.stack([distance, np.abs(lengths), np.abs(new[place, 2] - old[first, 2])]))
    found = np.concatenate(errors, axis=1) if errors else np.zeros((3, 0))
    onset, length, velocity = found.mean(axis=1) if found.size else np.zeros(3)
    return Losses(
        before.count,
        after.count,
        found.shape[1],
        1000 * float(onset),
        1000 * float(found[0].max(initial=0.0)),
        1000 * float(length),
        float(velocity),
        sum(len(track.notes) > 0 for track in before.tracks),
        sum(len(track.notes) > 0 for track in after.tracks),
    )


def _pairs(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of notes that are the same one, by their onsets (n,) and (m,) in seconds, in order.

    As many on both sides go one by one. Else each old note goes with the nearest new one, if that is near; of several
    that want the same, the nearest gets it.
    """
    if len(old) == len(new):
        return np.arange(len(old)), np.arange(len(new))
    place = np.clip(np.searchsorted(new, old), 1, max(1, len(new) - 1))
    before = np.maximum(place - 1, 0)
    place = np.minimum(place, len(new) - 1)
    place = np.where(np.abs(new[before] - old) <= np.abs(new[place] - old), before, place)
    distance = np.abs(new[place] - old)
    order = np.lexsort((distance, place))
    first = order[np.r_[True, np.diff(place[order]) != 0]]
    first = first[distance[first] <= FARTHEST]
    return first, place[first]


def _notes(piece: Performance) -> dict[tuple[bool, int], np.ndarray]:
    """Start and end in seconds from the first onset, and velocity, (n, 3), by drums and pitch, in order of time."""
    found: dict[tuple[bool, int], list[np.ndarray]] = {}
    first = min((track.notes[:, START].min() for track in piece.tracks if len(track.notes)), default=0)
    offset = piece.seconds(np.array([first]))[0]
    for track in piece.tracks:
        times = np.stack([piece.seconds(track.notes[:, column]) - offset for column in (START, END)], axis=1)
        table = np.column_stack([times, track.notes[:, VELOCITY]])
        for pitch in np.unique(track.notes[:, PITCH]):
            found.setdefault((track.drums, int(pitch)), []).append(table[track.notes[:, PITCH] == pitch])
    joined = {key: np.concatenate(parts) for key, parts in found.items()}
    return {key: table[np.argsort(table[:, 0], kind="stable")] for key, table in joined.items()}
