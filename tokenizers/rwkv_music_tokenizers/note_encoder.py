"""From music to the tokens of a document: header, bars, notes."""

from dataclasses import dataclass, replace

import numpy as np

from rwkv_music_tokenizers.note_clocks import (
    MOST_UNITS,
    PERFORMED_SECONDS,
    Clock,
    choose_clock,
    grid_units,
    held_by_pedal,
    perf_units,
)
from rwkv_music_tokenizers.note_meters import lay_bars
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_parts import Parts, kind_of, seat
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
    key_places,
    nearest_tempo,
)
from rwkv_music_tokenizers.note_writer import (
    SAME,
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

_MOST_HOURS = int(MOST_UNITS * PERFORMED_SECONDS / 3600)


@dataclass(frozen=True, eq=False)
class Encoding:
    """A document and what became of the notes on the way."""

    ids: np.ndarray
    clock: Clock
    parts: Parts
    # The performance with a tempo from its first tick on.
    performance: Performance
    # (n, 4): the notes of all parts, one part after another, and the part of each.
    notes: np.ndarray
    part: np.ndarray
    # (n,) int64, see `sort_keys`; in sorted order `kept` of them became `written`.
    keys: np.ndarray
    kept: np.ndarray
    written: ClockedNotes


def encode_document(performance: Performance, options: NoteOptions) -> Encoding:
    """The document of a piece. Raises ValueError for a piece longer than a document can be."""
    performance = _with_first_tempo(performance)
    parts = seat(performance.tracks, options.silent)
    notes = np.concatenate([rows([], 4), *parts.notes])
    part = np.repeat(np.arange(len(parts.notes)), [len(table) for table in parts.notes])
    clock = choose_clock(performance, notes[:, START]) if options.clock == "auto" else options.clock
    units = grid_units if clock == "grid" else perf_units
    starts = units(performance, notes[:, START])
    ends = units(performance, notes[:, END])
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
    events = [note_events(written)]
    if options.pedal == "keep":
        events += [
            pedal_events(number, pedal[:, up], up) for number, pedal in enumerate(pedals) for up in (0, 1) if len(pedal)
        ]
    drums = np.array(parts.programs, dtype=np.int64) == 128
    header = [BOS, GRID if clock == "grid" else PERF, KIND + KINDS.index(options.kind or kind_of(parts))]
    if clock == "grid":
        stated, more = _grid(performance, np.concatenate(events), written, drums)
    else:
        stated, more = _first_key(performance), waits(np.concatenate(events))
    header += stated
    for number, program in enumerate(parts.programs):
        header += [PART + number, PROGRAM + program]
    music = write_events(np.concatenate([*events, more]), drums, clock == "grid")
    ids = np.concatenate([np.array(header, dtype=np.uint16), music, np.array([EOS], dtype=np.uint16)])
    return Encoding(ids, clock, parts, performance, notes, part, keys, kept, written)


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
    for program, pedal in zip(parts.programs, parts.pedals, strict=True):
        held = units(performance, pedal[: 0 if program == 128 else None])
        np.minimum(held[:-1, 1], held[1:, 0] - 1, out=held[:-1, 1])
        pedals.append(held[held[:, 0] < held[:, 1]])
    return pedals


def _grid(
    performance: Performance, events: np.ndarray, notes: ClockedNotes, drums: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """What the header of a piece on the grid states, meter, key and tempo, and the events of its bars and tempos."""
    ends = notes.start + np.where(drums[notes.part], STROKE, LENGTH_UNITS[notes.length])
    times, tempos = _changes(grid_units(performance, performance.tempos[:, 0]), nearest_tempo(performance.tempos[:, 1]))
    # A tempo that comes when nothing sounds any more is not heard.
    heard = (times > 0) & (times < ends.max(initial=0))
    tempo_changes = tempo_events(times[heard], tempos[heard])
    last = last_time(np.concatenate([events, tempo_changes]))
    meters = performance.meters.copy()
    meters[:, 0] = grid_units(performance, meters[:, 0])
    starts, places = lay_bars(meters.tolist(), max(last, 0))
    meter, key = int(places[0]), NO_KEY - KEY
    keys = np.full(len(starts), SAME)
    if len(performance.keys):
        ends_too = np.append(starts, starts[-1] + METER_UNITS[places[-1]])
        units = grid_units(performance, performance.keys[:, 0])
        bars, told = _changes(np.searchsorted((ends_too[:-1] + ends_too[1:]) / 2, units), _key_places(performance))
        within = bars < len(starts)
        keys[bars[within]] = told[within]
        key, keys[0] = (keys[0] if keys[0] != SAME else key), SAME
    changed = np.full(len(starts), SAME)
    changed[1:] = np.where(places[1:] != places[:-1], places[1:], SAME)
    bars = bar_events(starts, changed, keys) if last >= 0 else starts[:0]
    return [METER + meter, KEY + int(key), TEMPO + int(tempos[0])], np.concatenate([bars, tempo_changes])


def _changes(times: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of values told at rising times (n,), the last of each time, and of those the ones that differ from the one before."""
    last = np.append(times[1:] != times[:-1], True)[: len(times)]
    times, places = times[last], places[last]
    new = np.append(True, places[1:] != places[:-1])[: len(times)]
    return times[new], places[new]


def _key_places(performance: Performance) -> np.ndarray:
    return key_places(np.clip(performance.keys[:, 1], -7, 7), performance.keys[:, 2] != 0)


def _first_key(performance: Performance) -> list[int]:
    return [KEY + int(_key_places(performance)[0])] if len(performance.keys) else []
