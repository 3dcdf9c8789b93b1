"""From music to the tokens of a document: header, bars, notes."""

from dataclasses import dataclass, replace

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
from rwkv_music_tokenizers.note_parts import Parts, kind_of, seat, shared_pedals
from rwkv_music_tokenizers.note_vocabulary import (
    BOS,
    EOS,
    GRID,
    KEY,
    KIND,
    KINDS,
    LENGTH_UNITS,
    METER,
    METER_UNITS,
    NO_KEY,
    PART,
    PERF,
    PROGRAM,
    QUARTER,
    STROKE,
    TEMPO,
    key_place,
    nearest_tempo,
)
from rwkv_music_tokenizers.note_writer import (
    ClockedNotes,
    bar_events,
    clocked,
    last_time,
    note_events,
    pedal_events,
    sort_keys,
    tempo_events,
    waits,
    write_events,
)
from rwkv_music_tokenizers.performance import DEFAULT_TEMPO, END, PITCH, START, VELOCITY, Performance, rows

_NO_NOTES = rows([], 4)
_END = np.array([EOS], dtype=np.uint16)
_MOST_HOURS = int(MOST_UNITS * PERFORMED_SECONDS / 3600)


@dataclass(frozen=True, eq=False)
class Encoding:
    """A document and what became of the notes on the way."""

    ids: np.ndarray
    clock: Clock
    parts: Parts
    # The performance with a tempo from its first tick on.
    performance: Performance
    # (n, 4): the notes of all parts, one part after another.
    notes: np.ndarray
    # (n,) int64, see `sort_keys`, of a performance with the ends that the pedal makes; sorted, `kept` became `written`.
    keys: np.ndarray
    kept: np.ndarray
    written: ClockedNotes
    # Whether the document tells when the pedal is down.
    pedalled: bool


def encode_document(performance: Performance, options: NoteOptions) -> Encoding:
    """The document of a piece. Raises ValueError for a piece longer than a document can be."""
    performance = _with_first_tempo(performance)
    parts = seat(performance.tracks, options.silent)
    notes = np.concatenate([_NO_NOTES, *parts.notes])
    part = np.repeat(np.arange(len(parts.notes)), [len(table) for table in parts.notes])
    clock = choose_clock(performance, notes[:, START]) if options.clock == "auto" else options.clock
    units = grid_units if clock == "grid" else perf_units
    starts, ends = units(performance, notes[:, START]), units(performance, notes[:, END])
    pedals = _pedals(performance, parts, clock, options)
    if max(ends.max(initial=0), *(pedal.max(initial=0) for pedal in pedals), 0) >= MOST_UNITS:
        raise ValueError(
            f"a piece in notes ends before {MOST_UNITS // QUARTER} quarters, or {_MOST_HOURS} hours: cut it"
        )
    if clock == "perf" and options.pedal == "fold":
        for number, pedal in enumerate(pedals):
            own = part == number
            ends[own] = held_by_pedal(ends[own], pedal)
    keys = sort_keys(part, notes[:, PITCH], starts, ends - starts, notes[:, VELOCITY])
    written, kept = clocked(np.sort(keys))
    drums = np.array(parts.programs, dtype=np.int64) == 128
    events = note_events(written, drums)
    if options.pedal == "keep":
        changes = [pedal_events(number, pedal[:, up], up) for number, pedal in enumerate(pedals) for up in (0, 1)]
        events = np.concatenate([events, *changes])
    if clock == "grid":
        stated, more = _grid(performance, events, written, drums)
    else:
        stated = [KEY + key_place(*performance.keys[0, 1:].tolist())] if len(performance.keys) else []
        more = waits(events)
    header = [BOS, GRID if clock == "grid" else PERF, KIND + KINDS.index(options.kind or kind_of(parts)), *stated]
    for number, program in enumerate(parts.programs):
        header += [PART + number, PROGRAM + program]
    music = write_events(np.concatenate([events, more]), drums, clock == "grid")
    ids = np.concatenate([np.array(header, dtype=np.uint16), music, _END])
    return Encoding(ids, clock, parts, performance, notes, keys, kept, written, options.pedal == "keep")


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
    units = grid_units if clock == "grid" else perf_units
    pedals = []
    tables = parts.pedals if options.pedal == "keep" else shared_pedals(parts)
    for program, pedal in zip(parts.programs, tables, strict=True):
        held = units(performance, pedal[: 0 if program == 128 else None])
        np.minimum(held[:-1, 1], held[1:, 0] - 1, out=held[:-1, 1])
        pedals.append(held[held[:, 0] < held[:, 1]])
    return pedals


def _grid(
    performance: Performance, events: np.ndarray, notes: ClockedNotes, drums: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """What the header of a piece on the grid states, meter, key and tempo, and the events of its bars and tempos."""
    (_, tempo), *tempos = changes_of(
        (grid_units(performance, tick), nearest_tempo(microseconds))
        for tick, microseconds in performance.tempos.tolist()
    )
    if tempos:
        # A tempo that comes when nothing sounds any more is not heard.
        lengths = np.where(drums[notes.part], STROKE, LENGTH_UNITS[notes.length])
        silence = int((notes.start + lengths).max(initial=0))
        tempos = [change for change in tempos if change[0] < silence]
    last = max(last_time(events), tempos[-1][0] if tempos else -1)
    told = [(grid_units(performance, tick), *meter) for tick, *meter in performance.meters.tolist()]
    starts, ((_, meter), *meters) = lay_bars(told, max(last, 0))
    key, keys = _keys(performance, starts, int(METER_UNITS[meters[-1][1] if meters else meter]))
    bars = bar_events(starts, meters, keys) if last >= 0 else starts[:0]
    return [METER + meter, KEY + key, TEMPO + tempo], np.concatenate([bars, tempo_events(tempos)])


def _keys(performance: Performance, starts: np.ndarray, last_bar: int) -> tuple[int, list[tuple[int, int]]]:
    """The place of the first key, and the (bar, place) of those that follow: each at the nearest bar line."""
    told: list[tuple[int, int]] = []
    for tick, fifths, minor in performance.keys.tolist():
        unit = grid_units(performance, tick)
        bar = int(np.searchsorted(starts, unit, side="right")) - 1
        begin, end = (int(starts[bar]), int(starts[bar + 1])) if bar + 1 < len(starts) else (int(starts[-1]), 0)
        told.append((bar + (2 * unit > begin + (end or begin + last_bar)), key_place(fifths, minor)))
    keys = [(bar, place) for bar, place in changes_of(told) if bar < len(starts)]
    if keys and keys[0][0] == 0:
        return keys[0][1], keys[1:]
    return NO_KEY - KEY, keys
