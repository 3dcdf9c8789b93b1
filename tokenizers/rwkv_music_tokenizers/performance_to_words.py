"""Music as the words of a MIDI model, in time: absolute time is rounded, so no onset is more than 4 ms off.

The vocabulary and the order of words are the published ones; prompts and training documents are made by this.
"""

from typing import NamedTuple

import numpy as np

from rwkv_music_tokenizers.midi_words import FIRST_NOTE, FIRST_WAIT, LONGEST_WAIT, PITCHES, SECOND, UNIT, MidiWords
from rwkv_music_tokenizers.performance import END, PITCH, START, VELOCITY, Performance, Track

# The longest piece, in seconds: a day.
LONGEST_PIECE = 86_400


def performance_to_words(performance: Performance, words: MidiWords) -> list[int]:
    """Ids of a piece, without separators, from its first note to its last release; silence before it is dropped.

    Of one moment drums come first, then instruments in order, then pitches, a release before a new note. Keys go up
    when the pedal does. A key that several tracks of one instrument press is released before it is pressed again,
    and once for all; pressed within one moment it counts once, the loudest. Programs for which the vocabulary has no
    instrument are left out. Raises ValueError for a piece longer than a day.
    """
    played = [track for track in performance.tracks if len(track.notes) and instrument(track, words) >= 0]
    if not played:
        return []
    sounds = _one_at_a_time(_sounds(performance, played, words))
    releases = FIRST_NOTE + sounds.keys * words.levels
    ids = np.concatenate([releases, releases + sounds.levels])
    times = np.concatenate([sounds.ends, sounds.starts])
    # Drums are the first instrument of every vocabulary that has them: of one moment, ids are in the published order.
    order = np.lexsort((ids, times))
    return _with_waits(ids[order], times[order])


def left_out(performance: Performance, words: MidiWords) -> list[Track]:
    """The tracks for which the vocabulary has no instrument."""
    return [track for track in performance.tracks if len(track.notes) and instrument(track, words) < 0]


def instrument(track: Track, words: MidiWords) -> int:
    """The instrument that plays a track; -1 where the vocabulary has none."""
    return words.percussion if track.drums else words.by_program[track.program]


class _Sounds(NamedTuple):
    """Notes, each array (n,)."""

    # Instrument and pitch in one number.
    keys: np.ndarray
    # In units of 8 ms since the first.
    starts: np.ndarray
    ends: np.ndarray
    levels: np.ndarray


def _sounds(performance: Performance, played: list[Track], words: MidiWords) -> _Sounds:
    loudness = np.array([words.level(velocity) for velocity in range(128)])
    notes = np.concatenate([track.notes for track in played])
    places = np.concatenate([np.full(len(track.notes), instrument(track, words)) for track in played])
    starts = performance.seconds(notes[:, START])
    ends = performance.seconds(np.concatenate([_pedalled(track) for track in played]))
    first = starts.min()
    if ends.max() - first > LONGEST_PIECE:
        raise ValueError(f"the piece lasts {ends.max() - first:.0f} s: expected at most {LONGEST_PIECE} s, a day")
    starts, ends = ((1000 / UNIT * (seconds - first)).round().astype(np.int64) for seconds in (starts, ends))
    return _Sounds(
        places * PITCHES + notes[:, PITCH], starts, np.maximum(ends, starts + 1), loudness[notes[:, VELOCITY]]
    )


def _pedalled(track: Track) -> np.ndarray:
    """The tick at which each note of a track goes up, (n,): with the pedal, if its key goes up while that is down."""
    ends = track.notes[:, END]
    if track.drums or not len(track.pedals):
        return ends
    downs, ups = track.pedals.T
    last = np.searchsorted(downs, ends, side="right") - 1
    return np.where(last >= 0, np.maximum(ends, ups[last]), ends)


def _one_at_a_time(sounds: _Sounds) -> _Sounds:
    """The same notes so that of each key one sounds at a time: it lasts until the next begins, or the last ends."""
    order = np.lexsort((sounds.starts, sounds.keys))
    keys, starts, ends, levels = (column[order] for column in sounds)
    begins = np.flatnonzero(np.r_[True, (np.diff(keys) != 0) | (np.diff(starts) != 0)])
    keys, starts = keys[begins], starts[begins]
    ends, levels = np.maximum.reduceat(ends, begins), np.maximum.reduceat(levels, begins)
    # A key's ends only grow: shifted apart by key, all keys are accumulated at once.
    shift = keys * (int(ends.max()) + 1)
    ends = np.maximum.accumulate(ends + shift) - shift
    again = np.flatnonzero(keys[1:] == keys[:-1])
    ends[again] = np.minimum(ends[again], starts[again + 1])
    return _Sounds(keys, starts, ends, levels)


def _with_waits(ids: np.ndarray, times: np.ndarray) -> list[int]:
    """Ids (n,) with the waits between their times (n,), in units, ascending from 0."""
    document = []
    now = 0
    for number, time in zip(ids.tolist(), times.tolist(), strict=True):
        seconds, rest = divmod(time - now, LONGEST_WAIT)
        document += [SECOND] * seconds
        if rest:
            document.append(FIRST_WAIT + rest - 1)
        document.append(number)
        now = time
    return document
