"""Excerpts of documents of notes: each a document again, whose header says what holds at its first bar."""

from dataclasses import dataclass

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    DRUM,
    FIELD,
    FIRST_VELOCITY,
    GRID,
    KEY,
    METER,
    PART,
    PEDAL,
    PITCH,
    PROGRAM,
    TEMPO,
    TIME,
    VELOCITY,
)

PARTS = 16
# Every part begins a document with this velocity, unsaid.
UNSAID = VELOCITY + FIRST_VELOCITY
# What the notes of a moment are told with.
OF_NOTES = (PART, PROGRAM, VELOCITY, PITCH, DRUM, PEDAL)
# A document begins with <bos>, the clock and the kind of piece; then stands what holds for all parts.
CLOCK_PLACE, FIXED = 1, 3
FOR_ALL = (METER, KEY, TEMPO)


def is_note(ids: np.ndarray) -> np.ndarray:
    """Where a note is struck: (n,) bool for ids (n,)."""
    kinds = FIELD[ids]
    return (kinds == PITCH) | (kinds == DRUM)


def header_length(ids: np.ndarray) -> int:
    """How many ids of a document stand before its music."""
    place = _declarations(ids)
    while place + 1 < len(ids) and FIELD[ids[place]] == PART and FIELD[ids[place + 1]] == PROGRAM:
        place += 2
    return place


def _declarations(ids: np.ndarray) -> int:
    """Where the parts of a document are declared."""
    place = FIXED
    while place < len(ids) and FIELD[ids[place]] in FOR_ALL:
        place += 1
    return place


def beginnings(ids: np.ndarray) -> np.ndarray:
    """Where an excerpt of a document may begin: at its bars, or without bars where time passes. Rising, int64."""
    kinds = FIELD[ids]
    if ids[CLOCK_PLACE] == GRID:
        return np.flatnonzero(kinds == BAR)
    return np.flatnonzero((kinds[1:] == TIME) & (kinds[:-1] != TIME)) + 1


def excerpt(ids: np.ndarray, begin: int, end: int) -> np.ndarray:
    """The document of the music ids[begin:end], uint16; `begin` is one of `beginnings`, or 0 for the document's start.

    Meter, key, tempo and programs stand in the header as they hold there; the first note of each part says its velocity
    unless it is the one that goes unsaid, and the first note of all says its part.
    """
    if begin <= header_length(ids):
        return np.array(ids[:end], dtype=np.uint16)
    header = _Header(np.asarray(ids[:begin], dtype=np.int64))
    music = header.take_changes(np.asarray(ids[begin:end], dtype=np.int64))
    return np.concatenate([header.ids, _first_notes(music, header)]).astype(np.uint16)


@dataclass(frozen=True)
class _Held:
    """What holds after some ids of a document."""

    # Id of the part last named, -1 for none; and by number of the part its velocity's id.
    part: int
    velocities: np.ndarray


class _Header:
    """The header that a document would have if its music began after the ids `before`."""

    def __init__(self, before: np.ndarray):
        self.ids = before[: header_length(before)].copy()
        self._declared = _declarations(before)
        kinds = FIELD[before]
        parts = np.flatnonzero(kinds == PART)
        self._say(METER, before[kinds == METER])
        self._say(KEY, before[kinds == KEY])
        self._say(TEMPO, before[kinds == TEMPO])
        for place in np.flatnonzero(kinds == PROGRAM):
            owner = before[parts[np.searchsorted(parts, place) - 1]]
            self.ids[self._declared + 1 :: 2][self.ids[self._declared :: 2] == owner] = before[place]
        velocities = np.full(PARTS, UNSAID, dtype=np.int64)
        spoken = np.flatnonzero(kinds == VELOCITY)
        owners = before[parts[np.searchsorted(parts, spoken) - 1]] - PART if len(parts) else spoken
        velocities[owners] = before[spoken]
        music = parts[parts >= len(self.ids)]
        self.held = _Held(int(before[music[-1]]) if len(music) else -1, velocities)

    def _say(self, kind: int, changes: np.ndarray) -> None:
        """Take the last of some changes, ids of the field `kind`, into the header."""
        if len(changes):
            self.ids[: self._declared][FIELD[self.ids[: self._declared]] == kind] = changes[-1]

    def take_changes(self, music: np.ndarray) -> np.ndarray:
        """The music without the meter, key and tempo that it begins with, which go into the header."""
        if FIELD[music[0]] != BAR:
            return music
        place = 1
        while place < len(music) and FIELD[music[place]] in (METER, KEY):
            self._say(int(FIELD[music[place]]), music[place : place + 1])
            place += 1
        rest = music[place:]
        if len(rest) > 1 and rest[0] == TIME and FIELD[rest[1]] == TEMPO:
            self._say(TEMPO, rest[1:2])
            sounding = len(rest) > 2 and FIELD[rest[2]] in OF_NOTES
            rest = np.delete(rest, 1) if sounding else rest[2:]
        return np.concatenate([music[:1], rest])


def _first_notes(music: np.ndarray, header: _Header) -> np.ndarray:
    """The music with what its first notes must say, and without what they need not."""
    kinds = FIELD[music]
    notes = np.flatnonzero(is_note(music))
    if not len(notes):
        return music
    parts = np.flatnonzero(kinds == PART)
    nearest = np.searchsorted(parts, notes) - 1
    owners = np.where(nearest >= 0, music[parts[nearest]] if len(parts) else 0, header.held.part) - PART
    places, added, dropped = [], [], []
    if nearest[0] < 0:
        places.append(int(np.argmax(np.isin(kinds, OF_NOTES))))
        added.append(header.held.part)
    for owner, first in zip(*np.unique(owners, return_index=True), strict=True):
        note = int(notes[first])
        if kinds[note - 1] == VELOCITY:
            if music[note - 1] == UNSAID:
                dropped.append(note - 1)
        elif header.held.velocities[owner] != UNSAID:
            places.append(note)
            added.append(int(header.held.velocities[owner]))
    kept = np.ones(len(music), dtype=bool)
    kept[dropped] = False
    longer = np.insert(music, places, added)
    return longer[np.insert(kept, places, True)]
