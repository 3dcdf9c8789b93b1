"""MIDI files as words exactly as the published MIDI models' training files were made of them, drift of time and all.

For prompts and for training use `performance_to_words`, which keeps time. Source: MIDI-LLM-tokenizer (MIT).
"""

import math
from dataclasses import dataclass
from itertools import chain

from rwkv_music_tokenizers.midi_events import MidiEvent, MidiStream
from rwkv_music_tokenizers.midi_words import END, FIRST_WAIT, LONGEST_WAIT, START, UNIT, MidiWords, Note
from rwkv_music_tokenizers.performance import DEFAULT_TEMPO

CHANNELS = 16
PERCUSSION = 9
# Controllers. Fine volume (39) is taken for volume.
VOLUME, FINE_VOLUME, EXPRESSION, PEDAL, ALL_NOTES_OFF = 7, 39, 11, 64, 123
# Longer waits are cut, in milliseconds.
MAX_WAIT = 10_000


@dataclass(frozen=True)
class Cutting:
    """Where a file is cut into pieces, and which of them are kept; both in seconds."""

    # Longer silence ends a piece.
    silence: float = 10.0
    # Shorter pieces are thrown away.
    shortest: float = 30.0


TRAINING = Cutting()
EVERY_PIECE = Cutting(shortest=0.0)
# RWKV-Runner's: one piece a file.
WHOLE_FILE = Cutting(silence=10_000.0, shortest=0.0)


def training_pieces(stream: MidiStream, words: MidiWords, cutting: Cutting = TRAINING) -> list[list[int]]:
    """The pieces of a file as ids, each between `<start>` and `<end>`, as the published models' data has them.

    Every wait is rounded by itself, so time drifts; a key released after a change of program is released in the
    wrong instrument; keys that are never released stay down. The time of all events counts, also that of unknown
    meta events, which the published code loses. Times are summed in the published order of floats, event by event:
    where the stream leaves out an event between two of its own, a wait that lies on the edge of rounding may differ.
    """
    writer = _PieceWriter(words, cutting, stream.ticks)
    tick = 0
    for event in sorted(chain(*stream.tracks), key=lambda event: event.tick):
        if event.kind != "end":
            writer.take(event, event.tick - tick)
            tick = event.tick
    return writer.close()


def wait_units(milliseconds: float) -> list[int]:
    """The units of the words of one wait: full seconds, then the rest, halves rounded down; nothing of 10 s on."""
    milliseconds = min(milliseconds, MAX_WAIT)
    seconds = math.floor(milliseconds / 1000)
    rest = math.ceil(milliseconds % 1000 / UNIT - 0.5)
    return [LONGEST_WAIT] * seconds + [rest] * (rest > 0)


class _PieceWriter:
    """Takes the events of a file in order; knows what each channel sounds like, and the piece being written."""

    def __init__(self, words: MidiWords, cutting: Cutting, ticks: int):
        self.words = words
        self.cutting = cutting
        self.ticks = ticks
        self.tempo = DEFAULT_TEMPO
        self.programs = [0] * CHANNELS
        self.volumes = [127] * CHANNELS
        self.expressions = [127] * CHANNELS
        self.pedals = [False] * CHANNELS
        # Keys that are down, and the releases that wait for the pedal, as (pitch, program); in the order of arrival.
        self.down: list[dict[int, None]] = [{} for _ in range(CHANNELS)]
        self.parked: list[dict[tuple[int, int], None]] = [{} for _ in range(CHANNELS)]
        # Channels on which keys could be released since all notes were last switched off.
        self.stirred: set[int] = set()
        self.pieces: list[list[int]] = []
        # Milliseconds since the last note or release that was kept.
        self.waited = 0.0
        self._begin()

    def _begin(self) -> None:
        self.piece = [START]
        self.length = 0.0
        self.begun = False
        self.group: list[Note] = []

    def take(self, event: MidiEvent, ticks: int) -> None:
        self.waited += ticks * (self.tempo * 1e-6 / self.ticks) * 1000.0
        channel = event.channel
        match event.kind:
            case "tempo":
                self.tempo = event.first
            case "program":
                self.programs[channel] = event.first
                self.stirred.add(channel)
            case "on":
                self._press(channel, event.first, event.second)
            case "off":
                self._release(channel, self.programs[channel], event.first)
            case "control":
                self._control(channel, event.first, event.second)

    def _press(self, channel: int, pitch: int, velocity: int) -> None:
        program = self.programs[channel]
        self.parked[channel].pop((pitch, program), None)
        mixed = velocity * (self.volumes[channel] / 127.0) * (self.expressions[channel] / 127.0)
        self._write(channel, program, pitch, mixed)
        self.down[channel][pitch] = None
        self.stirred.add(channel)

    def _release(self, channel: int, program: int, pitch: int) -> None:
        if self.pedals[channel]:
            self.parked[channel][pitch, program] = None
        else:
            self._write(channel, program, pitch, 0.0)
            self.down[channel].pop(pitch, None)

    def _control(self, channel: int, number: int, value: int) -> None:
        if number in (VOLUME, FINE_VOLUME):
            self.volumes[channel] = value
        elif number == EXPRESSION:
            self.expressions[channel] = value
        elif number == PEDAL:
            self.pedals[channel] = value >= 64
            self.stirred.add(channel)
            if value < 64:
                for pitch, program in self.parked[channel]:
                    self._release(channel, program, pitch)
                self.parked[channel] = {}
        elif number == ALL_NOTES_OFF:
            # The published code releases the keys of every channel.
            for other in sorted(self.stirred):
                for pitch in list(self.down[other]):
                    self._release(other, self.programs[other], pitch)
            self.stirred = set()

    def _write(self, channel: int, program: int, pitch: int, velocity: float) -> None:
        """A note or release, after the wait before it."""
        words = self.words
        instrument = words.percussion if channel == PERCUSSION else words.by_program[program]
        if instrument < 0:
            return
        if self.waited > self.cutting.silence * 1000.0 and not any(self.down):
            self._end_piece()
            self._begin()
        waits = wait_units(self.waited) if self.begun else []
        if waits:
            self._write_group()
            self.piece += [FIRST_WAIT + units - 1 for units in waits]
            self.length += self.waited
        self.waited = 0.0
        self.begun = True
        self.group.append(Note(instrument, pitch, words.level(velocity)))

    def _write_group(self) -> None:
        """What comes at one moment: drums first, then by instrument and pitch."""
        drums = self.words.percussion
        self.group.sort(key=lambda note: (note.instrument != drums, note.instrument, note.pitch))
        self.piece += map(self.words.note_id, self.group)
        self.group = []

    def _end_piece(self) -> None:
        self._write_group()
        if self.length > self.cutting.shortest * 1000.0:
            self.pieces.append([*self.piece, END])

    def close(self) -> list[list[int]]:
        self._end_piece()
        return self.pieces
