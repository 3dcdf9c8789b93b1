"""From notes, pedals, tempos and bars on a clock to tokens, many pieces at once and without a loop over notes.

Whatever happens is one integer, an event: its piece, its time, its place in the order of a group, and what it carries.
Sorting the events puts the pieces and all within them in order; each then gives at most five tokens, a row of a table.
A part has one number in all pieces: the 16 of the first piece are 0..15, those of the second 16..31.
"""

from dataclasses import dataclass
from itertools import pairwise

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
    PEDAL_DOWN,
    PEDAL_UP,
    PITCH,
    STROKE,
    TEMPO,
    TIME,
    VELOCITY,
)

# An event: piece << 48 | time << 25 | order << 12 | velocity << 7 | length, counted from 1, 0 for none. A bar comes first at its
# time, then a tempo (on the performed clock, a time alone), then the parts: each with its pedal, then its notes by
# pitch. What bars and tempos say stands where notes have velocity and length.
_PIECE, _TIME, _ORDER, _VELOCITY = 48, 25, 12, 7
_TIMES, _ORDERS = (1 << _PIECE - _TIME) - 1, (1 << _TIME - _ORDER) - 1
_SAID, _LENGTHS = (1 << _ORDER) - 1, (1 << _VELOCITY) - 1
_BAR, _TEMPO = range(2)
# Parts take 256 places of the order each, from here on: pedal down, pedal up, and the pitches.
_PARTS, _PITCHES = 256, 128
# (512,): the token of a place among the 256 of a part with pitches, then of one with drums.
_SOUNDS = np.zeros(512, dtype=np.uint16)
_SOUNDS[:2] = PEDAL_DOWN, PEDAL_UP
_SOUNDS[_PITCHES:_PARTS] = PITCH + np.arange(128)
_SOUNDS[_PARTS + _PITCHES :] = DRUM + np.arange(128)
# (81,), by length counted from 1: its token, and how long it sounds. A note without one is a stroke on a drum.
_LENGTH_TOKENS = np.append(0, LENGTH + np.arange(len(LENGTH_UNITS))).astype(np.uint16)
_SOUNDING = np.append(STROKE, LENGTH_UNITS)
# The longest time that a token tells.
_LONGEST_TIME = 191
# Bits for when notes begin, in the keys that sort them: more than `MOST_UNITS` by the longest length and far more.
_STARTS = 24


@dataclass(frozen=True, eq=False)
class ClockedNotes:
    """Notes on a clock, by part, pitch and start. All arrays are (n,)."""

    # Numbered through all pieces.
    part: np.ndarray
    pitch: np.ndarray
    start: np.ndarray
    # Places among the lengths of the vocabulary.
    length: np.ndarray
    # 0..15.
    velocity: np.ndarray


def spots_of(part: np.ndarray, pitch: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(n,) int64: where notes begin, told by one integer that sorts by part, pitch and start."""
    return ((part << 7 | pitch) << _STARTS) + start


def sort_keys(spots: np.ndarray, length: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """(n,) int64: notes as integers that sort by spot, length and velocity.

    A spot tells part, pitch and start, up to 2**46, and those of two pitches are far from one another. Lengths are cut
    to 1..768 units.
    """
    keys = spots << 10
    keys += np.minimum(np.maximum(length, 1), LONGEST)
    keys <<= 7
    keys += velocity
    return keys


def settle(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What remains of sorted keys (n,) where no note overlaps another of its pitch.

    Returns which of them do, (n,) bool; the lengths of those (m,); and how far from each the next of its pitch begins
    (m,), very far if none does. Of notes of one pitch that begin together the longest stays, and each ends where the
    next begins.
    """
    spots = keys >> 17
    kept = _differs(spots[::-1])[::-1]
    spots = spots[kept]
    gaps = np.full(len(spots), 1 << 35)
    np.subtract(spots[1:], spots[:-1], out=gaps[:-1])
    return kept, np.minimum(keys[kept] >> 7 & 1023, gaps), gaps


def clocked(keys: np.ndarray) -> tuple[ClockedNotes, np.ndarray]:
    """The notes of sorted keys (n,), as the vocabulary can say them, and which of the keys (n,) bool they are."""
    kept, lengths, gaps = settle(keys)
    keys = keys[kept]
    place = NEAREST_LENGTH[lengths]
    # A length that is rounded up must not run into the next note of its pitch.
    place -= LENGTH_UNITS[place] > gaps
    string = keys >> 17 + _STARTS
    return ClockedNotes(string >> 7, string & 127, keys >> 17 & (1 << _STARTS) - 1, place, keys >> 3 & 15), kept


def note_events(notes: ClockedNotes, drums: np.ndarray) -> np.ndarray:
    """The notes of parts, of which drums (parts,) bool have no lengths."""
    length = notes.length + 1
    if drums.any():
        length *= ~drums[notes.part]
    # By part, where its notes stand: in its piece, and after the other parts of it.
    parts = np.arange(len(drums))
    stands = (parts >> 4 << _PIECE - _ORDER) + ((parts & 15) << 8) + (_PARTS + _PITCHES)
    events = notes.start << _TIME - _ORDER
    events += stands[notes.part]
    events += notes.pitch
    events <<= _ORDER - _VELOCITY
    events += notes.velocity
    events <<= _VELOCITY
    events += length
    return events


def in_piece(number: int, events: np.ndarray) -> np.ndarray:
    """Events of a piece, made as if it were the first, in that of this number."""
    return events + (number << _PIECE)


def pedal_events(part: int, times: np.ndarray, up: int) -> np.ndarray:
    """A pedal that goes down (up: 0) or comes up (1) at times (n,)."""
    return (part >> 4 << _PIECE) + (times << _TIME) + (((part & 15) << 8) + _PARTS + up << _ORDER)


def tempo_events(changes: list[tuple[int, int]]) -> np.ndarray:
    """Changes of tempo, (time, place among the tempos)."""
    return np.array([time << _TIME | _TEMPO << _ORDER | TEMPO + place for time, place in changes], dtype=np.int64)


def bar_events(starts: np.ndarray, meters: list[tuple[int, int]], keys: list[tuple[int, int]]) -> np.ndarray:
    """Bars at starts (n,), and the meters and keys that change there: (bar, place)."""
    bars = starts << _TIME
    for bar, meter in meters:
        bars[bar] += meter + 1 << 5
    for bar, key in keys:
        bars[bar] += key + 1
    return bars


def last_time(events: np.ndarray) -> int:
    """When the last of a piece's events (n,) comes; -1 without any."""
    return int(events.max()) >> _TIME & _TIMES if len(events) else -1


def silence(notes: np.ndarray) -> int:
    """When the last of a piece's notes, events (n,), has sounded; 0 without any."""
    return int(((notes >> _TIME & _TIMES) + _SOUNDING[notes & _LENGTHS]).max(initial=0))


def waits(events: np.ndarray) -> np.ndarray:
    """Events that divide silences between those of a piece which are longer than a token of time can tell."""
    times = np.unique(np.append(events >> _TIME & _TIMES, 0))
    # A silence of exactly n tokens needs n - 1 more.
    counts = (np.diff(times) - 1) // _LONGEST_TIME
    long = np.flatnonzero(counts)
    counts = counts[long]
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return np.repeat(times[long], counts) + _LONGEST_TIME * steps << _TIME | _TEMPO << _ORDER


def write_events(events: np.ndarray, drums: np.ndarray, barred: np.ndarray) -> list[np.ndarray]:
    """By piece, the tokens (uint16) of events in any order. drums: (parts,) bool. barred: (pieces,) bool, on the grid.

    On the performed clock, times count from the time before.
    """
    events = np.sort(events)
    time, order, said = events >> _TIME, events >> _ORDER & _ORDERS, events & _SAID
    # Nothing is written where the table stays 0, the id of padding.
    table = np.zeros((len(events), 5), dtype=np.uint16).T
    is_bar = order == _BAR
    leads = _differs(time)
    leads[1:] |= is_bar[:-1]
    leads &= ~is_bar
    # What times count from: the last bar; as performed the last event, or the beginning of the piece.
    origins = is_bar if barred.all() else is_bar | ~barred[events >> _PIECE]
    since = time & ~_TIMES
    np.maximum(since[1:], np.maximum.accumulate(time * origins)[:-1], out=since[1:])
    table[0] = (time - since + TIME) * leads
    _write_bars(table, np.flatnonzero(is_bar), said)
    at = np.flatnonzero(order == _TEMPO)
    table[3][at] = said[at]
    _write_parts(table, np.flatnonzero(order >= _PARTS), events, drums)
    tokens = table.T.ravel()
    written = np.flatnonzero(tokens != 0)
    begins = np.searchsorted(events, np.arange(len(barred) + 1) << _PIECE)
    bounds = np.searchsorted(written, len(table) * begins).tolist()
    tokens = tokens[written]
    return [tokens[begin:end] for begin, end in pairwise(bounds)]


def _write_bars(table: np.ndarray, at: np.ndarray, said: np.ndarray) -> None:
    """Bars in columns `at`, with the meters and keys that they say."""
    table[0][at] = BAR
    for bar in at[said[at] > 0].tolist():
        meter, key = divmod(int(said[bar]), 32)
        table[1:3, bar] = METER - 1 + meter if meter else 0, KEY - 1 + key if key else 0


def _write_parts(table: np.ndarray, at: np.ndarray, events: np.ndarray, drums: np.ndarray) -> None:
    """What parts play in columns `at`, into rows 1 to 4."""
    events = events[at]
    said, order = events & _SAID, events >> _ORDER & _ORDERS
    own = (order >> 8) - 1
    part = (events >> _PIECE << 4) + own
    table[1][at] = (own + PART) * _differs(part)
    sounds = order & 255
    if drums.any():
        sounds += _PARTS * drums[part]
    table[3][at] = _SOUNDS[sounds]
    table[4][at] = _LENGTH_TOKENS[said & _LENGTHS]
    notes = np.flatnonzero(order & _PITCHES)
    if len(notes) < len(at):
        at, part, said = at[notes], part[notes], said[notes]
    # Every part goes on from its own last velocity.
    own = np.argsort(part.astype(np.uint16), kind="stable")
    at, part, velocity = at[own], part[own], said[own] >> _VELOCITY
    before = np.full_like(velocity, FIRST_VELOCITY)
    np.copyto(before[1:], velocity[:-1], where=part[1:] == part[:-1])
    table[2][at] = (velocity + VELOCITY) * (velocity != before)


def _differs(values: np.ndarray) -> np.ndarray:
    """(n,) bool: whether each differs from the one before; the first does."""
    differs = np.empty(len(values), dtype=bool)
    differs[:1] = True
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return differs
