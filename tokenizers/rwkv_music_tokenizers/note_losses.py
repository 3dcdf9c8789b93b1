"""What a document of notes does not say of the piece that it was made from."""

from dataclasses import dataclass

import numpy as np

from rwkv_music_tokenizers.note_clocks import PERFORMED_SECONDS, grid_units, perf_units
from rwkv_music_tokenizers.note_encoder import Encoding
from rwkv_music_tokenizers.note_meters import listed_meter
from rwkv_music_tokenizers.note_vocabulary import (
    FIELD,
    KEY,
    LENGTH_UNITS,
    METER,
    METERS,
    NO_KEY,
    QUARTER,
    TEMPO,
    TEMPO_MICROSECONDS,
    VELOCITIES,
    nearest_tempo,
)
from rwkv_music_tokenizers.performance import END, START, VELOCITY, Performance


@dataclass(frozen=True)
class LossReport:
    """Counts and errors; milliseconds are those of the piece's own tempos."""

    notes: int
    notes_written: int
    # Written shorter, as their pitch is struck again while they sound, and, held by the pedal, longer.
    notes_cut: int
    notes_held: int
    # Of written notes: of the times at which they begin; of lengths, without drums and what was cut or held; of 1..127.
    onset_mean_ms: float
    onset_max_ms: float
    length_mean_ms: float
    length_max_ms: float
    velocity_mean: float
    # In the piece, and in the document, which leaves out what changes nothing, and as played all but the first key.
    tempos: int
    tempos_written: int
    meters: int
    meters_written: int
    keys: int
    keys_written: int
    # The largest error of a tempo, as a fraction of it.
    tempo_max: float
    # Meters for which another stands, of the same length or in equal parts of it.
    meters_replaced: int
    tracks: int
    tracks_silent: int
    tracks_merged: int
    # Tracks of drums with another kit than the standard one, which is what is written.
    kits: int
    # Times that the pedal went down, where the document has no pedals.
    pedals_left_out: int

    @property
    def notes_dropped(self) -> int:
        """Notes that began together with another of their pitch in their part."""
        return self.notes - self.notes_written


def report_losses(performance: Performance, encoding: Encoding) -> LossReport:
    """What became of a performance in an encoding of it alone."""
    (piece,), (ids,) = encoding.pieces, encoding.documents
    fields = FIELD[ids]
    onset, length, cut, held = _time_errors(encoding)
    velocities = encoding.notes[VELOCITY, _written(encoding)] - VELOCITIES[encoding.written.velocity]
    barred = piece.clock == "grid"
    tempos = performance.tempos[:, 1].tolist()
    meters = performance.meters[:, 1:].tolist()
    pedals = sum(len(track.pedals) for track in performance.tracks if not track.drums)
    return LossReport(
        notes=encoding.notes.shape[1],
        notes_written=len(encoding.written.start),
        notes_cut=cut,
        notes_held=held,
        onset_mean_ms=_mean(onset),
        onset_max_ms=float(onset.max(initial=0)),
        length_mean_ms=_mean(length),
        length_max_ms=float(length.max(initial=0)),
        velocity_mean=_mean(np.abs(velocities)),
        tempos=len(tempos),
        tempos_written=int(np.count_nonzero(fields == TEMPO)),
        meters=len(meters),
        meters_written=int(np.count_nonzero(fields == METER)),
        keys=len(performance.keys),
        keys_written=int(np.count_nonzero((fields == KEY) & (ids != NO_KEY))),
        tempo_max=max((abs(_spoken(tempo) / max(tempo, 1) - 1) for tempo in tempos), default=0.0) if barred else 0.0,
        meters_replaced=sum(METERS[listed_meter(*meter)] != tuple(meter) for meter in meters) if barred else 0,
        tracks=len(performance.tracks),
        tracks_silent=len(performance.tracks) - len(piece.parts.programs) - piece.parts.merged,
        tracks_merged=piece.parts.merged,
        kits=sum(track.drums and track.program != 0 for track in performance.tracks),
        pedals_left_out=0 if encoding.pedalled else pedals,
    )


def _written(encoding: Encoding) -> np.ndarray:
    """(m,): which of the notes (n,) each written note was."""
    return np.argsort(encoding.keys, kind="stable")[encoding.kept]


def _time_errors(encoding: Encoding) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Of written notes: errors of onsets in ms, of lengths in ms, how many were cut, how many are held by the pedal."""
    (piece,), written = encoding.pieces, encoding.written
    performance = piece.performance
    notes = encoding.notes[:, _written(encoding)]
    wanted = np.sort(encoding.keys)[encoding.kept] >> 7 & 1023
    until = written.start + LENGTH_UNITS[written.length]
    if piece.clock == "grid":
        own = grid_units(notes[END], performance.ticks) - written.start
        starts, ends = (performance.seconds(units * performance.ticks / QUARTER) for units in (written.start, until))
    else:
        own = perf_units(performance, notes[END]) - written.start
        starts, ends = written.start * PERFORMED_SECONDS, until * PERFORMED_SECONDS
    begins = performance.seconds(notes[START])
    onset = 1000 * np.abs(begins - starts)
    pitched = np.array(piece.parts.programs, dtype=np.int64)[written.part] != 128
    string = written.part << 7 | written.pitch
    again = np.append((string[1:] == string[:-1]) & (written.start[1:] - written.start[:-1] < wanted[:-1]), False)
    cut = pitched & again[: len(string)]
    held = pitched & (wanted > np.maximum(own, 1))
    plain = pitched & ~cut & ~held
    length = 1000 * np.abs(performance.seconds(notes[END]) - begins - (ends - starts))[plain]
    return onset, length, int(np.count_nonzero(cut)), int(np.count_nonzero(held))


def _spoken(tempo: int) -> int:
    return int(TEMPO_MICROSECONDS[nearest_tempo(tempo)])


def _mean(errors: np.ndarray) -> float:
    return float(errors.mean()) if len(errors) else 0.0
