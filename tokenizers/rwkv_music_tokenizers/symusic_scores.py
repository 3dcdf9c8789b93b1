"""Music as it is played from symusic's columns: the way in for whole collections, thousands of files a second."""

from typing import Any

import numpy as np

from rwkv_music_tokenizers.performance import DEFAULT_METER, DEFAULT_TEMPO, Performance, Track, rows

_NO_PEDALS = rows([], 2)


def from_symusic(score: Any) -> Performance:
    """The piece of a symusic `Score` in ticks (made at run time, so without a type to name).

    Tracks without notes are left out, notes without length or velocity, lyrics, bends, and controllers other than the
    sustain pedal. Of tempos, meters and keys told twice at a tick the last holds. Raises ValueError for a score whose
    quarters have no ticks.
    """
    if score.ticks_per_quarter < 1:
        raise ValueError("this score has no ticks in a quarter, so no time passes: expected 1 or more")
    tempos = {event.time: (event.time, event.mspq) for event in score.tempos}
    meters = {event.time: (event.time, event.numerator, event.denominator) for event in score.time_signatures}
    keys = {event.time: (event.time, event.key, event.tonality) for event in score.key_signatures}
    tempos.setdefault(0, (0, DEFAULT_TEMPO))
    meters.setdefault(0, (0, *DEFAULT_METER))
    tracks = (_track(track) for track in score.tracks)
    return Performance(
        tuple(track for track in tracks if len(track.notes)),
        score.ticks_per_quarter,
        rows(sorted(tempos.values()), 2),
        rows(sorted(meters.values()), 3),
        rows(sorted(keys.values()), 3),
    )


def _track(track: Any) -> Track:
    told = track.notes.numpy()
    notes = np.empty((len(told["time"]), 4), dtype=np.int64)
    notes[:, 0], notes[:, 1], notes[:, 2], notes[:, 3] = told["time"], told["duration"], told["pitch"], told["velocity"]
    if len(notes) and notes[:, 1::2].min() <= 0:
        notes = notes[(notes[:, 1::2] > 0).all(axis=1)]
    notes[:, 1] += notes[:, 0]
    # symusic sorts by start, then length.
    notes = notes[np.argsort(notes[:, 0] << 7 | notes[:, 2], kind="stable")]
    notes.flags.writeable = False
    pedals = _pedals(track.pedals) if len(track.pedals) else _NO_PEDALS
    return Track(notes, track.program, track.is_drum, track.name, pedals)


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
