"""From tokens back to music. Whatever stands in a wrong place says nothing; only an id that is none is refused."""

import numpy as np

from rwkv_music_tokenizers.note_clocks import changes_of
from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    BOS,
    DRUM,
    DRUMS,
    EOS,
    FIELD,
    FIRST_VELOCITY,
    KEY,
    LENGTH,
    LENGTH_UNITS,
    METER,
    METER_UNITS,
    METERS,
    NO_KEY,
    PART,
    PEDAL,
    PERF,
    PITCH,
    PLACE,
    PROGRAM,
    QUARTER,
    SIZE,
    STROKE,
    TEMPO,
    TEMPO_MICROSECONDS,
    TIME,
    VELOCITIES,
    VELOCITY,
)
from rwkv_music_tokenizers.note_writer import settle, sort_keys
from rwkv_music_tokenizers.performance import DEFAULT_METER, DEFAULT_TEMPO, Performance, Track, rows

TICKS = 480
_GRID_TICKS = TICKS // QUARTER
# Bits for the times of notes, which no number of tokens that memory holds can pass.
_STARTS = 35
# A tick is a millisecond.
_PERF_TICKS, _PERF_TEMPO = 10, 1000 * TICKS


def checked(ids: object) -> np.ndarray:
    """Ids (n,) as int64. Raises ValueError for one that is not in the vocabulary."""
    tokens = np.asarray(ids, dtype=np.int64).reshape(-1)
    wrong = tokens[(tokens < 0) | (tokens >= SIZE)]
    if len(wrong):
        raise ValueError(f"an id of notes must be in range 0..{SIZE - 1}, not {wrong[0]}")
    return tokens


def read_document(ids: object) -> Performance:
    """The music of a document or of its beginning, up to the first end. Raises ValueError for ids out of range."""
    return _Document(checked(ids)).performance()


class _Document:
    """A document with what holds at each of its tokens: bar, time, part."""

    def __init__(self, tokens: np.ndarray):
        tokens = tokens[int(len(tokens) > 0 and tokens[0] == BOS) :]
        ends = np.flatnonzero(tokens == EOS)
        tokens = tokens[: ends[0]] if len(ends) else tokens
        opening = np.flatnonzero((FIELD[tokens] == BAR) | (FIELD[tokens] == TIME))
        split = opening[0] if len(opening) else len(tokens)
        self.header, self.tokens = tokens[:split], tokens[split:]
        self.field, self.place = FIELD[self.tokens], PLACE[self.tokens]
        self.barred = PERF not in self.header
        follows = (FIELD[self.header[1:]] == PROGRAM) & (FIELD[self.header[:-1]] == PART)
        at = np.flatnonzero(follows)
        self.programs = dict(zip(PLACE[self.header[at]].tolist(), self.header[at + 1].tolist(), strict=True))
        self._tell_time()
        self.part = _held(self.field == PART, self.place, 0)

    def _tell_time(self) -> None:
        times = np.where(self.field == TIME, self.place, 0)
        bars = self.field == BAR
        self.bar = np.cumsum(bars)
        self.meters = np.full(self.bar[-1] if len(bars) else 0, -1)
        changes = np.flatnonzero((self.field == METER) & (self.bar > 0))
        self.meters[self.bar[changes] - 1] = self.place[changes]
        self.meters = _held(self.meters >= 0, self.meters, self._declared(METER, METERS.index(DEFAULT_METER)))
        self.bar_starts = np.concatenate([[0], np.cumsum(METER_UNITS[self.meters])])
        if self.barred:
            self.time = self.bar_starts[np.maximum(self.bar - 1, 0)] + _held((self.field == TIME) | bars, times, 0)
        else:
            self.time = np.cumsum(times)

    def _declared(self, field: int, otherwise: int) -> int:
        """The last place of a field that the header states."""
        stated = PLACE[self.header[FIELD[self.header] == field]]
        return int(stated[-1]) if len(stated) else otherwise

    def performance(self) -> Performance:
        scale = _GRID_TICKS if self.barred else _PERF_TICKS
        tracks = self._tracks(scale)
        keys = [(0, key) for key in PLACE[self.header[FIELD[self.header] == KEY]][-1:].tolist()]
        if not self.barred:
            return Performance(tracks, TICKS, tempos=rows([(0, _PERF_TEMPO)], 2), keys=_key_rows(keys))
        stated = self._declared(TEMPO, -1)
        first = (0, int(TEMPO_MICROSECONDS[stated]) if stated >= 0 else DEFAULT_TEMPO)
        meters = [(self.meters[0] if len(self.meters) else self._declared(METER, METERS.index(DEFAULT_METER)), 0)]
        meters += [(self.meters[bar], self.bar_starts[bar]) for bar in np.flatnonzero(np.diff(self.meters)) + 1]
        at = np.flatnonzero(self.field == TEMPO)
        changes = zip((self.time[at] * scale).tolist(), TEMPO_MICROSECONDS[self.place[at]].tolist(), strict=True)
        at = np.flatnonzero((self.field == KEY) & (self.bar > 0))
        starts = self.bar_starts[self.bar[at] - 1] * scale
        keys += zip(starts.tolist(), self.place[at].tolist(), strict=True)
        return Performance(
            tracks,
            TICKS,
            tempos=rows(changes_of([first, *changes]), 2),
            meters=rows([(start * scale, *METERS[place]) for place, start in meters], 3),
            keys=_key_rows(changes_of(keys)),
        )

    def _tracks(self, scale: int) -> tuple[Track, ...]:
        drums = np.zeros(16, dtype=bool)
        drums[[part for part, program in self.programs.items() if program == DRUMS]] = True
        following = np.append(self.field[1:], 0)
        long = (self.field == PITCH) & (following == LENGTH) & ~drums[self.part]
        at = np.flatnonzero(long | ((self.field == DRUM) & drums[self.part]))
        part = self.part[at]
        lengths = np.where(long[at], LENGTH_UNITS[np.append(self.place, 0)[at + 1] * long[at]], STROKE)
        spots = ((part << 7 | self.place[at]) << _STARTS) + self.time[at]
        keys = np.sort(sort_keys(spots, lengths, self._velocities()[at]))
        kept, lengths, _ = settle(keys)
        keys = keys[kept]
        start, string = keys >> 17 & (1 << _STARTS) - 1, keys >> 17 + _STARTS
        notes = np.stack([start * scale, (start + lengths) * scale, string & 127, keys & 127], axis=1)
        part = string >> 7
        order = np.lexsort((notes[:, 2], notes[:, 0], part))
        notes, part = notes[order], part[order]
        heard = sorted({*self.programs, *part.tolist()})
        return tuple(
            Track(
                rows(notes[part == number], 4),
                0 if drums[number] else self.programs.get(number, PROGRAM) - PROGRAM,
                bool(drums[number]),
                pedals=rows([] if drums[number] else self._pedals(number, scale), 2),
            )
            for number in heard
        )

    def _velocities(self) -> np.ndarray:
        """(n,): the velocity at each token, as its part had it last."""
        own = np.argsort(self.part, kind="stable")
        part, told = self.part[own], self.field[own] == VELOCITY
        begins = np.append(True, part[1:] != part[:-1])[: len(part)]
        velocity = np.empty_like(own)
        velocity[own] = _held(told | begins, np.where(told, self.place[own], FIRST_VELOCITY), FIRST_VELOCITY)
        return VELOCITIES[velocity]

    def _pedals(self, part: int, scale: int) -> list[tuple[int, int]]:
        """(down, up) of a part in ticks; one that never comes up is left out."""
        pedals: list[tuple[int, int]] = []
        down = -1
        at = np.flatnonzero((self.field == PEDAL) & (self.part == part))
        for time, up in zip((self.time[at] * scale).tolist(), self.place[at].tolist(), strict=True):
            if not up and down < 0 and (not pedals or time > pedals[-1][1]):
                down = time
            elif up and 0 <= down < time:
                pedals.append((down, time))
                down = -1
        return pedals


def _held(mask: np.ndarray, values: np.ndarray, otherwise: int) -> np.ndarray:
    """(n,): at each place the value of the last place so far where the mask is true."""
    at = np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))
    return np.where(at >= 0, values[at], otherwise) if len(at) else values


def _key_rows(keys: list[tuple[int, int]]) -> np.ndarray:
    return rows([(time, key % 15 - 7, key // 15) for time, key in keys if key != NO_KEY - KEY], 3)
