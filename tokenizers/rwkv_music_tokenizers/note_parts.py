"""Who plays in a document of notes: at most sixteen parts, and the kind of piece that they make together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rwkv_music_tokenizers.note_vocabulary import KINDS
from rwkv_music_tokenizers.performance import END, START, Track

MOST_PARTS = 16
_DRUMS = 128
_PIANOS = frozenset(range(8))
# Bowed and plucked strings and string ensembles; harp and timpani, between them in General MIDI, are none.
_STRINGS = frozenset({40, 41, 42, 43, 44, 45, 48, 49})
# A line may overlap itself now and then, as legato and grace notes do.
_OVERLAPS = 0.05


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a piece."""

    # By part: 0..127, drums 128.
    programs: tuple[int, ...]
    # By part, (n, 4) as in `Track.notes` (of merged tracks unsorted), and (m, 2) as in `Track.pedals`.
    notes: tuple[np.ndarray, ...]
    pedals: tuple[np.ndarray, ...]
    # How many tracks were laid together with another.
    merged: int = 0


def seat(tracks: Sequence[Track], silent: bool) -> Parts:
    """One part a track, in order; `silent` keeps the tracks without notes.

    Beyond sixteen, the track with the fewest notes joins one of its own program where there is one, else, once all
    programs differ, the one of the nearest program. Drums only join drums.
    """
    seats = [
        [_DRUMS if track.drums else track.program, track.notes, track.pedals]
        for track in tracks
        if silent or len(track.notes)
    ]
    merged = max(len(seats) - MOST_PARTS, 0)
    while len(seats) > MOST_PARTS:
        _join(seats)
    programs, notes, pedals = zip(*seats, strict=True) if seats else ((), (), ())
    return Parts(tuple(programs), tuple(notes), tuple(pedals), merged)


def _join(seats: list[list]) -> None:
    programs = [seat[0] for seat in seats]
    doubled = [place for place, program in enumerate(programs) if programs.count(program) > 1]
    melodic = [place for place, program in enumerate(programs) if program != _DRUMS]
    leaving = min(doubled or melodic, key=lambda place: len(seats[place][1]))
    program, notes, pedals = seats.pop(leaving)
    hosts = [place for place, seat in enumerate(seats) if (seat[0] == _DRUMS) == (program == _DRUMS)]
    host = seats[min(hosts, key=lambda place: abs(seats[place][0] - program))]
    host[1] = np.concatenate([host[1], notes])
    host[2] = _united(np.concatenate([host[2], pedals]))


def _united(pedals: np.ndarray) -> np.ndarray:
    """Intervals (n, 2) in which any pedal is down."""
    pedals = pedals[np.argsort(pedals[:, 0], kind="stable")]
    if not len(pedals):
        return pedals
    until = np.maximum.accumulate(pedals[:, 1])
    first = np.concatenate([[True], pedals[1:, 0] > until[:-1]])
    return np.stack([pedals[first, 0], until[np.append(first[1:], True)]], axis=1)


def shared_pedals(parts: Parts) -> tuple[np.ndarray, ...]:
    """By part, when a pedal holds its notes (m, 2): a hand at a piano without one of its own has the other hand's."""
    return tuple(
        _united(
            np.concatenate([told for told, twin in zip(parts.pedals, parts.programs, strict=True) if twin == program])
        )
        if program in _PIANOS and not len(pedals)
        else pedals
        for program, pedals in zip(parts.programs, parts.pedals, strict=True)
    )


def kind_of(parts: Parts) -> str:
    """The kind of a piece by its instruments, one of `KINDS`.

    A lone line is a tune, whatever plays it; one line with piano a song; two or more strings, and nothing else, are
    strings; pianos alone are piano, drums alone drums. All else is an ensemble.
    """
    programs = set(parts.programs)
    others = [number for number, program in enumerate(parts.programs) if program not in _PIANOS]
    if programs == {_DRUMS}:
        kind = "drums"
    elif len(parts.programs) == 1 and _is_line(parts.notes[0]):
        kind = "tune"
    elif programs <= _PIANOS and programs:
        kind = "piano"
    elif programs <= _STRINGS and len(parts.programs) > 1:
        kind = "strings"
    elif (
        len(others) == 1 < len(parts.programs)
        and parts.programs[others[0]] != _DRUMS
        and _is_line(parts.notes[others[0]])
    ):
        kind = "song"
    else:
        kind = "ensemble"
    assert kind in KINDS
    return kind


def _is_line(notes: np.ndarray) -> bool:
    """Whether notes follow one another: few begin while half of their length another still sounds."""
    if len(notes) < 2:
        return True
    overlap = np.maximum.accumulate(notes[:-1, END]) - notes[1:, START]
    return bool(np.mean(2 * overlap > notes[1:, END] - notes[1:, START]) <= _OVERLAPS)
