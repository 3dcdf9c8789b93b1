"""Where a document of notes stands after each token: its clock, its bar, its parts, and what sounds in them."""

from copy import copy
from enum import Enum, auto

import numpy as np

from rwkv_music_tokenizers.note_meters import listed_meter
from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    BOS,
    DRUM,
    DRUMS,
    EOS,
    FIELD,
    FIRST_VELOCITY,
    GRID,
    KEY,
    KIND,
    LENGTH,
    LENGTH_UNITS,
    METER,
    METER_UNITS,
    NO_KEY,
    PART,
    PEDAL,
    PEDAL_DOWN,
    PERF,
    PITCH,
    PROGRAM,
    STROKE,
    TEMPO,
    TIME,
    VELOCITY,
)
from rwkv_music_tokenizers.performance import DEFAULT_METER

# Lists: a single number is read from them faster than from an array.
_FIELDS = FIELD.tolist()
_LENGTHS = LENGTH_UNITS.tolist()
_BARS = METER_UNITS.tolist()
_PLAYED = frozenset({PITCH, DRUM, VELOCITY, PEDAL})


class Said(Enum):
    """What the last token that says something said."""

    NOTHING = auto()
    BOS = auto()
    CLOCK = auto()
    KIND = auto()
    # In the header.
    METER = auto()
    KEY = auto()
    TEMPO = auto()
    DECLARED = auto()
    PROGRAM = auto()
    # In the music.
    BAR = auto()
    BAR_METER = auto()
    BAR_KEY = auto()
    TIME = auto()
    GROUP_TEMPO = auto()
    PART = auto()
    VELOCITY = auto()
    PITCH = auto()
    # A note, a stroke or a pedal: all that it takes was said.
    EVENT = auto()
    EOS = auto()


class Moment:
    """Follows a document of notes, or anything made of its tokens, up to its end. Times are in units of its clock."""

    def __init__(self) -> None:
        self.said = Said.NOTHING
        self.barred = True
        # In music, no longer in the header.
        self.playing = False
        self.tempo = self.key = -1
        self.bar_length = _BARS[listed_meter(*DEFAULT_METER)]
        self.meter = METER + listed_meter(*DEFAULT_METER)
        # Bars begun; where the last begins, and the last time told, which on the grid may lie before it.
        self.bars = 0
        self.bar_start = 0
        self.now = -1
        # The last token of time.
        self.time = -1
        # When the last tempo came, and when all that was played so far has ended.
        self.tempo_at = -1
        self.silence = 0
        # Programs by part, as tokens.
        self.programs: dict[int, int] = {}
        # The part that plays, -1 for none yet, and the one that played last at this time.
        self.part = self.group_part = -1
        # What the part played last at this time: a pitch or drum, -1 a pedal, -2 nothing.
        self.group_pitch = -2
        self.velocities = [FIRST_VELOCITY] * 16
        self.pedals = [False] * 16
        # (16, 128): by part and pitch, until when it sounds.
        self.until = np.zeros((16, 128), dtype=np.int64)

    def clone(self) -> "Moment":
        """The same moment once more, to go another way."""
        twin = copy(self)
        twin.programs, twin.velocities, twin.pedals = self.programs.copy(), self.velocities.copy(), self.pedals.copy()
        twin.until = self.until.copy()
        return twin

    @property
    def end(self) -> int:
        """How far the music was told: the last time, or on the grid the bar that has begun since."""
        return max(self.now, self.bar_start)

    def drums(self, part: int) -> bool:
        """Whether a part strikes drums."""
        return self.programs.get(part) == DRUMS

    def follow(self, token: int) -> None:
        """Take the next token, in its place or not."""
        field = _FIELDS[token]
        if self.said is Said.EOS:
            return
        if field in _PLAYED:
            # As the decoder has it, a part that is not named is the first.
            self.part = max(self.part, 0)
        if field == TIME:
            self._take_time(token - TIME)
        elif field in (PITCH, DRUM):
            self.group_pitch = token - field
            self.group_part = self.part
            self.said = Said.PITCH
            if field == DRUM:
                # Struck again at another time it sounds anew, so it is in the way at this time only.
                self._sound(1, STROKE)
        elif field == LENGTH:
            if self.said is Said.PITCH:
                self._sound(_LENGTHS[token - LENGTH], _LENGTHS[token - LENGTH])
        elif field == VELOCITY:
            self.velocities[self.part] = token - VELOCITY
            self.said = Said.VELOCITY
        elif field == PEDAL:
            self.pedals[self.part] = token == PEDAL_DOWN
            self.group_part, self.group_pitch = self.part, -1
            self.said = Said.EVENT
        elif self.playing:
            self._take_change(token, field)
        else:
            self._take_header(token, field)

    def _take_time(self, time: int) -> None:
        self.playing = True
        self.now = self.bar_start + time if self.barred else max(self.now, 0) + time
        self.time = time
        self.group_part, self.group_pitch = -1, -2
        self.said = Said.TIME

    def _sound(self, blocked: int, sounding: int) -> None:
        self.until[self.part, self.group_pitch] = self.now + blocked
        self.silence = max(self.silence, self.now + sounding)
        self.said = Said.EVENT

    def _take_change(self, token: int, field: int) -> None:
        if field == BAR:
            self._take_bar()
        elif field == PART:
            self.part = token - PART
            self.group_pitch = -2
            self.said = Said.PART
        elif field == TEMPO:
            self.tempo, self.tempo_at = token, self.now
            self.said = Said.GROUP_TEMPO
        elif field == METER:
            self.meter, self.bar_length = token, _BARS[token - METER]
            self.said = Said.BAR_METER
        elif field == KEY:
            self.key = token
            self.said = Said.BAR_KEY
        elif token == EOS:
            self.said = Said.EOS

    def _take_bar(self) -> None:
        self.playing = True
        self.bar_start += self.bar_length if self.bars else 0
        self.bars += 1
        self.time = -1
        self.group_part, self.group_pitch = -1, -2
        self.said = Said.BAR

    def _take_header(self, token: int, field: int) -> None:
        if field == BAR:
            self._take_bar()
        elif token == EOS:
            self.said = Said.EOS
        elif token == BOS:
            self.said = Said.BOS
        elif token in (GRID, PERF):
            self.barred = token == GRID
            self.said = Said.CLOCK
        elif field == KIND:
            self.said = Said.KIND
        elif field == METER:
            self.meter, self.bar_length = token, _BARS[token - METER]
            self.said = Said.METER
        elif field == KEY:
            self.key = -1 if token == NO_KEY else token
            self.said = Said.KEY
        elif field == TEMPO:
            self.tempo = token
            self.said = Said.TEMPO
        elif field == PART:
            self.part = token - PART
            self.said = Said.DECLARED
        elif field == PROGRAM and self.said is Said.DECLARED:
            self.programs[self.part] = token
            self.part = -1
            self.said = Said.PROGRAM
