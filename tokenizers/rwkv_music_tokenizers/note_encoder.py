"""From music to the tokens of documents: header, bars, notes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from rwkv_music_tokenizers.note_clocks import (
    MOST_UNITS,
    PERFORMED_SECONDS,
    Clock,
    changes_of,
    choose_clock,
    grid_units,
    held_by_pedal,
    perf_units,
)
from rwkv_music_tokenizers.note_meters import lay_bars
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_parts import MOST_PARTS, Parts, kind_of, seat, shared_pedals
from rwkv_music_tokenizers.note_vocabulary import (
    BOS,
    EOS,
    GRID,
    KEY,
    KIND,
    KINDS,
    METER,
    METER_UNITS,
    NO_KEY,
    PART,
    PERF,
    PROGRAM,
    QUARTER,
    TEMPO,
    key_place,
    nearest_tempo,
)
from rwkv_music_tokenizers.note_writer import (
    ClockedNotes,
    bar_events,
    clocked,
    in_piece,
    last_time,
    note_events,
    pedal_events,
    silence,
    sort_keys,
    spots_of,
    tempo_events,
    waits,
    write_events,
)
from rwkv_music_tokenizers.performance import DEFAULT_TEMPO, END, PITCH, START, VELOCITY, Performance, rows

_NO_NOTES = rows([], 4)
_END = np.array([EOS], dtype=np.uint16)
# How many pieces or notes are encoded together: more would not fit into a processor's cache.
_PIECES, _NOTES = 256, 1 << 13
_MOST_HOURS = int(MOST_UNITS * PERFORMED_SECONDS / 3600)


@dataclass(frozen=True, eq=False)
class Piece:
    """What a document is made of."""

    # The performance with a tempo from its first tick on.
    performance: Performance
    parts: Parts
    clock: Clock
    # By part, when its pedal is down (m, 2), in units; nothing where pedals are not wanted.
    pedals: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Encoding:
    """The documents of some pieces, and what became of their notes on the way."""

    # By piece, (n,) uint16.
    documents: list[np.ndarray]
    pieces: list[Piece]
    # (4, n): the notes of all parts of all pieces, one part after another; columns as in `Track.notes`.
    notes: np.ndarray
    # (n,) int64, see `sort_keys`, of notes with the ends that the pedal makes; sorted, `kept` became `written`.
    keys: np.ndarray
    kept: np.ndarray
    written: ClockedNotes
    # Whether the documents tell when the pedal is down.
    pedalled: bool


def batches(performances: Iterable[Performance]) -> Iterator[list[Performance]]:
    """Pieces as many at a time as are quickly encoded together."""
    batch: list[Performance] = []
    notes = 0
    for performance in performances:
        batch.append(performance)
        notes += performance.count
        if len(batch) == _PIECES or notes >= _NOTES:
            yield batch
            batch, notes = [], 0
    if batch:
        yield batch


def encode_documents(performances: Sequence[Performance], options: NoteOptions) -> Encoding:
    """The documents of up to 2048 pieces. Raises ValueError if one is longer than a document can be."""
    seated = [seat(performance.tracks, options.silent) for performance in performances]
    numbers = [MOST_PARTS * piece + part for piece, parts in enumerate(seated) for part in range(len(parts.programs))]
    tables = [table.T for parts in seated for table in parts.notes]
    notes = np.concatenate([_NO_NOTES.T, *tables], axis=1)
    part = np.repeat(np.array(numbers, dtype=np.int64), [table.shape[1] for table in tables])
    pieces, times = _on_clocks(performances, seated, notes[[START, END]], options)
    starts, ends = times
    keys = sort_keys(spots_of(part, notes[PITCH], starts), ends - starts, notes[VELOCITY])
    written, kept = clocked(np.sort(keys))
    drums = np.zeros(MOST_PARTS * len(pieces), dtype=bool)
    drums[numbers] = [program == 128 for parts in seated for program in parts.programs]
    documents = _write(pieces, written, drums, options)
    return Encoding(documents, pieces, notes, keys, kept, written, options.pedal == "keep")


def _on_clocks(
    performances: Sequence[Performance], seated: list[Parts], ticks: np.ndarray, options: NoteOptions
) -> tuple[list[Piece], np.ndarray]:
    """Pieces on their clocks, and the times (2, n) at which their notes start and end, given in ticks, in units."""
    sizes = [sum(map(len, parts.notes)) for parts in seated]
    quarters = np.repeat([performance.ticks for performance in performances], sizes)
    times = grid_units(ticks, quarters)
    bounds = list(accumulate(sizes, initial=0))
    off = np.searchsorted(np.flatnonzero(QUARTER * ticks[0] != times[0] * quarters), bounds).tolist()
    pieces: list[Piece] = []
    for number, (begin, end) in enumerate(pairwise(bounds)):
        own, exact = slice(begin, end), off[number] == off[number + 1]
        performance, parts = _with_first_tempo(performances[number]), seated[number]
        clock = choose_clock(performance, ticks[0, own], exact) if options.clock == "auto" else options.clock
        pedals = _pedals(performance, parts, clock, options)
        if clock == "perf":
            times[:, own] = perf_units(performance, ticks[:, own])
            if options.pedal == "fold":
                _hold(times[1, own], parts, pedals)
        pieces.append(Piece(performance, parts, clock, pedals))
    pressed = (int(pedal.max(initial=0)) for piece in pieces for pedal in piece.pedals)
    if max(int(times.max(initial=0)), *pressed, 0) >= MOST_UNITS:
        raise ValueError(
            f"a piece in notes ends before {MOST_UNITS // QUARTER} quarters, or {_MOST_HOURS} hours: cut it"
        )
    return pieces, times


def _hold(ends: np.ndarray, parts: Parts, pedals: list[np.ndarray]) -> None:
    """Move the ends (n,) of a piece's notes, part by part, to where their pedal comes up."""
    begin = 0
    for table, pedal in zip(parts.notes, pedals, strict=True):
        own = ends[begin : begin + len(table)]
        own[:] = held_by_pedal(own, pedal)
        begin += len(table)


def _with_first_tempo(performance: Performance) -> Performance:
    """The same, with a tempo at tick 0 if there was none."""
    tempos = performance.tempos
    if len(tempos) and tempos[0, 0] <= 0:
        return performance
    return replace(performance, tempos=rows([(0, DEFAULT_TEMPO), *tempos.tolist()], 2))


def _pedals(performance: Performance, parts: Parts, clock: Clock, options: NoteOptions) -> list[np.ndarray]:
    """By part, when its pedal is down (m, 2), in units, with a unit at least between two; as far as it is wanted."""
    if options.pedal == "drop" or (options.pedal == "fold" and clock == "grid"):
        return []
    pedals = []
    tables = parts.pedals if options.pedal == "keep" else shared_pedals(parts)
    for program, pedal in zip(parts.programs, tables, strict=True):
        pedal = pedal[: 0 if program == 128 else None]
        held = grid_units(pedal, performance.ticks) if clock == "grid" else perf_units(performance, pedal)
        np.minimum(held[:-1, 1], held[1:, 0] - 1, out=held[:-1, 1])
        pedals.append(held[held[:, 0] < held[:, 1]])
    return pedals


def _write(pieces: list[Piece], notes: ClockedNotes, drums: np.ndarray, options: NoteOptions) -> list[np.ndarray]:
    """The documents of pieces with these notes, whose parts are drums (16 * pieces,) bool or not."""
    events = note_events(notes, drums)
    bounds = np.searchsorted(notes.part, MOST_PARTS * np.arange(len(pieces) + 1)).tolist()
    headers: list[np.ndarray] = []
    more: list[np.ndarray] = [events]
    for number, (piece, (begin, end)) in enumerate(zip(pieces, pairwise(bounds), strict=True)):
        own = events[begin:end]
        pedals = piece.pedals if options.pedal == "keep" else []
        first = MOST_PARTS * number
        changes = [pedal_events(part, pedal[:, up], up) for part, pedal in enumerate(pedals, first) for up in (0, 1)]
        played = np.concatenate([own, *changes]) if changes else own
        if piece.clock == "grid":
            stated, others = _grid(piece.performance, own, last_time(played))
        else:
            stated, others = _first_key(piece.performance), [waits(played)]
        headers.append(_header(piece, stated, options.kind))
        more += changes
        more += [in_piece(number, those) for those in others]
    music = write_events(np.concatenate(more), drums, np.array([piece.clock == "grid" for piece in pieces]))
    return [np.concatenate([header, own, _END]) for header, own in zip(headers, music, strict=True)]


def _header(piece: Piece, stated: list[int], kind: str) -> np.ndarray:
    """How a document begins (n,) uint16: what it states, and its parts."""
    header = [BOS, GRID if piece.clock == "grid" else PERF, KIND + KINDS.index(kind or kind_of(piece.parts)), *stated]
    for number, program in enumerate(piece.parts.programs):
        header += [PART + number, PROGRAM + program]
    return np.array(header, dtype=np.uint16)


def _first_key(performance: Performance) -> list[int]:
    """The key that a performed piece states, if it has one."""
    return [KEY + key_place(*performance.keys[0, 1:].tolist())] if len(performance.keys) else []


def _grid(performance: Performance, notes: np.ndarray, last: int) -> tuple[list[int], list[np.ndarray]]:
    """What the header of a piece on the grid states, meter, key and tempo, and the events of its bars and tempos.

    notes: the events of its notes. last: the time of the last of all its events, -1 of none.
    """
    (_, tempo), *tempos = changes_of(
        (grid_units(tick, performance.ticks), nearest_tempo(microseconds))
        for tick, microseconds in performance.tempos.tolist()
    )
    if tempos:
        # A tempo that comes when nothing sounds any more is not heard.
        until = silence(notes)
        tempos = [change for change in tempos if change[0] < until]
    last = max(last, tempos[-1][0] if tempos else -1)
    told = [(grid_units(tick, performance.ticks), *meter) for tick, *meter in performance.meters.tolist()]
    starts, ((_, meter), *meters) = lay_bars(told, max(last, 0))
    key, keys = _keys(performance, starts, int(METER_UNITS[meters[-1][1] if meters else meter]))
    bars = [bar_events(starts, meters, keys)] if last >= 0 else []
    return [METER + meter, KEY + key, TEMPO + tempo], [*bars, tempo_events(tempos)] if tempos else bars


def _keys(performance: Performance, starts: np.ndarray, last_bar: int) -> tuple[int, list[tuple[int, int]]]:
    """The place of the first key, and the (bar, place) of those that follow: each at the nearest bar line."""
    told: list[tuple[int, int]] = []
    for tick, fifths, minor in performance.keys.tolist():
        unit = grid_units(tick, performance.ticks)
        told.append((_nearest_bar(unit, starts, last_bar) if unit > 0 else 0, key_place(fifths, minor)))
    keys = [(bar, place) for bar, place in changes_of(told) if bar < len(starts)]
    if keys and keys[0][0] == 0:
        return keys[0][1], keys[1:]
    return NO_KEY - KEY, keys


def _nearest_bar(unit: int, starts: np.ndarray, last_bar: int) -> int:
    """The bar that begins nearest to a unit, of those at starts (n,) and the one after them, or the earlier of two."""
    bar = int(starts.searchsorted(unit, side="right")) - 1
    begin = int(starts[bar])
    end = int(starts[bar + 1]) if bar + 1 < len(starts) else begin + last_bar
    return bar + (2 * unit > begin + end)
