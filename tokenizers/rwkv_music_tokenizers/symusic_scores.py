"""Music as it is played from symusic's columns: the way in for whole collections, thousands of files a second."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from rwkv_music_tokenizers.performance import DEFAULT_METER, DEFAULT_TEMPO, Performance, Track, rows

_NO_PEDALS = rows([], 2)
_COLUMNS = ("time", "duration", "pitch", "velocity")


def from_symusic(score: Any) -> Performance:
    """The piece of a symusic `Score` in ticks (made at run time, so without a type to name).

    Tracks without notes are left out, notes without length or velocity, lyrics, bends, and controllers other than the
    sustain pedal. Of tempos, meters and keys told twice at a tick the last holds. Raises ValueError for a score whose
    quarters have no ticks.
    """
    return from_symusic_many([score])[0]


def from_symusic_many(scores: Sequence[Any]) -> list[Performance]:
    """The piece of each score, as `from_symusic` makes it; their notes lie in one array, so that they are quickly made.

    Raises ValueError if the quarters of any have no ticks.
    """
    if any(score.ticks_per_quarter < 1 for score in scores):
        raise ValueError("this score has no ticks in a quarter, so no time passes: expected 1 or more")
    told = [list(score.tracks) for score in scores]
    notes = _notes([track.notes.numpy() for tracks in told for track in tracks])
    tempos = _tables([_tempos(score) for score in scores], 2)
    meters = _tables([_meters(score) for score in scores], 3)
    keys = _tables([_keys(score) for score in scores], 3)
    pieces = zip(scores, told, tempos, meters, keys, strict=True)
    return [
        Performance(_tracks(tracks, notes), score.ticks_per_quarter, tempo, meter, key)
        for score, tracks, tempo, meter, key in pieces
    ]


def _tempos(score: Any) -> list[tuple[int, ...]]:
    told = {event.time: event.mspq for event in score.tempos}
    told.setdefault(0, DEFAULT_TEMPO)
    return sorted(told.items())


def _meters(score: Any) -> list[tuple[int, ...]]:
    told = {(time := event.time): (time, event.numerator, event.denominator) for event in score.time_signatures}
    told.setdefault(0, (0, *DEFAULT_METER))
    return sorted(told.values())


def _keys(score: Any) -> list[tuple[int, ...]]:
    told = {(time := event.time): (time, event.key, event.tonality) for event in score.key_signatures}
    return sorted(told.values())


def _tables(told: list[list[tuple[int, ...]]], columns: int) -> Iterator[np.ndarray]:
    """The rows (n, columns) of each list, from one array."""
    return _cut(rows([row for own in told for row in own], columns), list(map(len, told)))


def _cut(table: np.ndarray, lengths: list[int]) -> Iterator[np.ndarray]:
    """Rows of a table, so many at a time."""
    return (table[begin:end] for begin, end in pairwise(accumulate(lengths, initial=0)))


def _tracks(told: list[Any], notes: Iterator[np.ndarray]) -> tuple[Track, ...]:
    """The tracks that have notes."""
    return tuple([_track(track, own) for track, own in zip(told, notes, strict=False) if len(own)])


def _track(track: Any, notes: np.ndarray) -> Track:
    pedals = _pedals(track.pedals) if len(track.pedals) else _NO_PEDALS
    return Track(notes, track.program, track.is_drum, track.name, pedals)


def _notes(told: list[dict[str, np.ndarray]]) -> Iterator[np.ndarray]:
    """The notes (n, 4) of every track, as in `Track.notes`."""
    counts = np.array([len(columns["time"]) for columns in told], dtype=np.int64)
    notes = np.empty((4, counts.sum()), dtype=np.int64)
    for row, name in zip(notes, _COLUMNS, strict=True):
        if told:
            np.concatenate([columns[name] for columns in told], out=row)
    track = np.repeat(np.arange(len(told)), counts)
    if notes[1::2].min(initial=1) <= 0:
        sounding = (notes[1::2] > 0).all(axis=0)
        notes, track = notes[:, sounding], track[sounding]
        counts = np.bincount(track, minlength=len(told))
    notes[1] += notes[0]
    # symusic sorts by start, then length.
    keys = track << 32
    keys += notes[0]
    keys <<= 7
    keys += notes[2]
    if (keys[1:] < keys[:-1]).any():
        notes = notes[:, np.argsort(keys, kind="stable")]
    table = notes.T
    table.flags.writeable = False
    return _cut(table, counts.tolist())


def _pedals(pedals: Any) -> np.ndarray:
    """When the pedal is down (m, 2); what overlaps or touches is one."""
    told = pedals.numpy()
    table = np.stack([told["time"], told["duration"]], axis=1).astype(np.int64)
    table[:, 1] += table[:, 0]
    table = table[np.argsort(table[:, 0], kind="stable")]
    table = table[table[:, 1] > table[:, 0]]
    until = np.maximum.accumulate(table[:, 1])
    first = np.append(True, table[1:, 0] > until[:-1])[: len(table)]
    return rows(np.stack([table[first, 0], until[np.append(first[1:], True)[: len(table)]]], axis=1), 2)
