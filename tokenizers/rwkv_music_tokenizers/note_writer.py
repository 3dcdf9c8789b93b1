"""From notes, pedals, tempos and bars on a clock to tokens, without a loop over notes.

Whatever happens is one integer, an event: its time, its place in the order of a group, and what it carries. Sorting the
events puts a document in order; each then gives at most five tokens, a row of a table.
"""

from dataclasses import dataclass

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    DRUM,
    FIRST_VELOCITY,
    KEY,
    LENGTH,
    LENGTH_UNITS,
    LONGEST,
    METER,
    NEAREST_LENGTH,
    PART,
    PEDAL,
    PITCH,
    TEMPO,
    TIME,
    VELOCITY,
)

# An event: time << 25 | order << 12 | what it carries. A bar comes first at its time, then a tempo (on the performed
# clock, a time alone), then the parts: each with its pedal, then its notes by pitch.
_TIME, _ORDER = 25, 12
_ORDERS, _CARRIED = (1 << _TIME - _ORDER) - 1, (1 << _ORDER) - 1
_BAR, _TEMPO, _PARTS = range(3)
# Within a part, of 256 places: the pedal, and from here the pitches.
_PITCHES = 128
# The longest time that a token tells.
_LONGEST_TIME = 191
# What does not change at a bar.
SAME = -1


@dataclass(frozen=True, eq=False)
class ClockedNotes:
    """Notes on a clock, by part, pitch and start. All arrays are (n,)."""

    part: np.ndarray
    pitch: np.ndarray
    start: np.ndarray
    # Places among the lengths of the vocabulary.
    length: np.ndarray
    # 0..15.
    velocity: np.ndarray


def sort_keys(part: np.ndarray, pitch: np.ndarray, start: np.ndarray, length: np.ndarray, velocity: np.ndarray):
    """(n,) int64: notes as integers that sort by part, pitch, start, length and velocity.

    Parts up to 15, starts below 2**35; lengths are cut to 1..768 units.
    """
    return (((part << 7 | pitch) << 35 | start) << 10 | np.clip(length, 1, LONGEST)) << 7 | velocity


def settle(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What remains of sorted keys (n,) where no note overlaps another of its pitch: (n,) bool, which, and their lengths.

    Of notes of one pitch that begin together the longest stays, and each ends where the next begins.
    """
    spots = keys >> 17
    kept = np.empty(len(keys), dtype=bool)
    kept[-1:] = True
    np.not_equal(spots[1:], spots[:-1], out=kept[:-1])
    spots = spots[kept]
    lengths = keys[kept] >> 7 & 1023
    # Where the next note has another pitch it lies 2**35 units away.
    np.minimum(lengths[:-1], np.diff(spots), out=lengths[:-1])
    return kept, lengths


def clocked(keys: np.ndarray) -> tuple[ClockedNotes, np.ndarray]:
    """The notes of sorted keys (n,), as the vocabulary can say them, and which of the keys (n,) bool they are."""
    kept, lengths = settle(keys)
    keys = keys[kept]
    start = keys >> 17 & (1 << 35) - 1
    place = NEAREST_LENGTH[lengths]
    # A length that is rounded up must not run into the next note of its pitch.
    longer = np.flatnonzero(LENGTH_UNITS[place[:-1]] > np.diff(keys >> 17))
    place[longer] -= 1
    string = keys >> 52
    return ClockedNotes(string >> 7, string & 127, start, place, keys >> 3 & 15), kept


def note_events(notes: ClockedNotes) -> np.ndarray:
    order = (notes.part << 8 | notes.pitch) + (_PARTS + _PITCHES)
    return notes.start << _TIME | order << _ORDER | notes.velocity << 7 | notes.length


def pedal_events(part: int, times: np.ndarray, up: int) -> np.ndarray:
    """A pedal that goes down (up: 0) or comes up (1) at times (n,)."""
    return times << _TIME | ((part << 8) + _PARTS) << _ORDER | up


def tempo_events(times: np.ndarray, tempos: np.ndarray) -> np.ndarray:
    """Changes at times (n,) to places (n,) among the tempos."""
    return times << _TIME | _TEMPO << _ORDER | tempos


def bar_events(starts: np.ndarray, meters: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Bars at starts (n,), with the places of meters and keys that change there, or SAME."""
    return starts << _TIME | _BAR << _ORDER | (meters + 1) << 5 | (keys + 1)


def last_time(events: np.ndarray) -> int:
    """When the last of events (n,) comes; -1 without any."""
    return int(events.max() >> _TIME) if len(events) else -1


def waits(events: np.ndarray) -> np.ndarray:
    """Events that divide silences longer than a token of time can tell."""
    times = np.unique(np.append(events >> _TIME, 0))
    # A silence of exactly n tokens needs n - 1 more.
    counts = (np.diff(times) - 1) // _LONGEST_TIME
    long = np.flatnonzero(counts)
    counts = counts[long]
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    times = np.repeat(times[long], counts) + _LONGEST_TIME * steps
    return tempo_events(times, np.zeros_like(times))


def write_events(events: np.ndarray, drums: np.ndarray, barred: bool) -> np.ndarray:
    """The tokens (uint16) of events in any order. drums: (parts,) bool. barred: the clock is the grid.

    On the performed clock, times count from the time before.
    """
    events = np.sort(events)
    time, order, carried = events >> _TIME, events >> _ORDER & _ORDERS, events & _CARRIED
    # Nothing is written where the table stays 0, the id of padding.
    table = np.zeros((len(events), 5), dtype=np.uint16)
    is_bar = order == _BAR if barred else np.zeros(len(events), dtype=bool)
    leads = np.empty(len(events), dtype=bool)
    leads[:1] = True
    np.not_equal(time[1:], time[:-1], out=leads[1:])
    if barred:
        leads[1:] |= is_bar[:-1]
        leads &= ~is_bar
        since = np.maximum.accumulate(time * is_bar)
        at = np.flatnonzero(is_bar)
        meter, key = carried[at] >> 5, carried[at] & 31
        table[at, 0] = BAR
        table[at, 1] = np.where(meter, METER - 1 + meter, 0)
        table[at, 2] = np.where(key, KEY - 1 + key, 0)
        at = np.flatnonzero(order == _TEMPO)
        table[at, 3] = TEMPO + carried[at]
    else:
        since = np.append(0, time[:-1])
    table[:, 0] += ((TIME + time - since) * leads).astype(np.uint16)
    _write_parts(table, order, carried, drums)
    return table[table > 0]


def _write_parts(table: np.ndarray, order: np.ndarray, carried: np.ndarray, drums: np.ndarray) -> None:
    """What parts play, into columns 1 to 4."""
    at = np.flatnonzero(order >= _PARTS)
    order, carried = order[at] - _PARTS, carried[at]
    part = order >> 8
    switch = np.empty(len(at), dtype=bool)
    switch[:1] = True
    np.not_equal(part[1:], part[:-1], out=switch[1:])
    table[at, 1] = (PART + part) * switch
    pitch = (order & 255) - _PITCHES
    if (pitch < 0).any():
        pedal = pitch < 0
        table[at[pedal], 3] = PEDAL + carried[pedal]
        at, part, pitch, carried = at[~pedal], part[~pedal], pitch[~pedal], carried[~pedal]
    struck = drums[part]
    table[at, 3] = pitch + np.where(struck, DRUM, PITCH)
    table[at, 4] = (LENGTH + (carried & 127)) * ~struck
    # Every part goes on from its own last velocity.
    own = np.argsort(part, kind="stable") if len(drums) > 1 else slice(None)
    part, velocity = part[own], carried[own] >> 7
    before = np.empty_like(velocity)
    before[:1] = FIRST_VELOCITY
    before[1:] = np.where(part[1:] == part[:-1], velocity[:-1], FIRST_VELOCITY)
    table[at[own], 2] = (VELOCITY + velocity) * (velocity != before)
