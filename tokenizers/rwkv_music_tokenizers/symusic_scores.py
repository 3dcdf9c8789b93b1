"""Music as it is played from symusic's columns: the way in for whole collections, thousands of files a second."""

from typing import Any

import numpy as np

from rwkv_music_tokenizers.performance import DEFAULT_METER, DEFAULT_TEMPO, Performance, Track, rows


def from_symusic(score: Any) -> Performance:
    """The piece of a symusic `Score` in ticks (its classes are made at run time and have no type to name). Tracks without notes are left out, and notes without length or velocity.

    Of tempos, meters and keys told twice at a tick the last holds. Lyrics, bends and controllers other than the sustain
    pedal are left out.
    """
    tempos = _table(score.tempos, "time", "mspq")
    if not len(tempos) or tempos[0, 0] > 0:
        tempos = np.concatenate([[(0, DEFAULT_TEMPO)], tempos])
    meters = _table(score.time_signatures, "time", "numerator", "denominator")
    if not len(meters) or meters[0, 0] > 0:
        meters = np.concatenate([[(0, *DEFAULT_METER)], meters])
    tracks = (_track(track) for track in score.tracks)
    return Performance(
        tuple(track for track in tracks if len(track.notes)),
        score.ticks_per_quarter,
        _frozen(tempos),
        _frozen(meters),
        _frozen(_table(score.key_signatures, "time", "key", "tonality")),
    )


def _frozen(table: np.ndarray) -> np.ndarray:
    table.flags.writeable = False
    return table


def _table(events: Any, *columns: str) -> np.ndarray:
    """Columns of symusic's events as rows (n, columns) int64, in order of their first, the last of each tick."""
    if not len(events):
        return np.empty((0, len(columns)), dtype=np.int64)
    told = events.numpy()
    table = np.stack([told[column] for column in columns], axis=1).astype(np.int64)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return table[np.append(table[1:, 0] != table[:-1, 0], True)]


def _track(track: Any) -> Track:
    told = track.notes.numpy()
    notes = np.empty((len(told["time"]), 4), dtype=np.int64)
    notes[:, 0], notes[:, 2], notes[:, 3] = told["time"], told["pitch"], told["velocity"]
    np.add(notes[:, 0], told["duration"], out=notes[:, 1])
    sounding = (told["duration"] > 0) & (told["velocity"] > 0)
    if not sounding.all():
        notes = notes[sounding]
    # symusic sorts by start, then length.
    order = np.argsort(notes[:, 0] << 7 | notes[:, 2], kind="stable")
    return Track(
        _frozen(notes[order]),
        track.program,
        track.is_drum,
        track.name,
        _pedals(track.pedals) if len(track.pedals) else rows([], 2),
    )


def _pedals(pedals: Any) -> np.ndarray:
    """When the pedal is down (m, 2); what overlaps or touches is one."""
    table = _table(pedals, "time", "duration")
    table[:, 1] += table[:, 0]
    table = table[table[:, 1] > table[:, 0]]
    if not len(table):
        return rows([], 2)
    until = np.maximum.accumulate(table[:, 1])
    first = np.append(True, table[1:, 0] > until[:-1])
    return rows(np.stack([table[first, 0], until[np.append(first[1:], True)]], axis=1), 2)
