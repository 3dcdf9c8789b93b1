"""What may follow in RWKV-Runner's REMI: words in MidiTok's order, no note over a note, true chords, and an end."""

from collections.abc import Iterable
from enum import Enum, auto
from fractions import Fraction

import numpy as np

from rwkv_music_tokenizers.grammar import NO_LIMITS, Ending, Limits
from rwkv_music_tokenizers.remi_players import RemiPlayers
from rwkv_music_tokenizers.remi_vocabulary import (
    BAR,
    BAR_UNITS,
    CHORD,
    CHORDS,
    DRUM,
    DRUMS,
    DURATION,
    DURATIONS,
    EOS,
    LOWEST,
    LOWEST_DRUM,
    PITCH,
    POSITION,
    PROGRAM,
    QUARTER,
    SIZE,
    VELOCITY,
)

# Tokens that a bar may take to its end when the piece must end: as many as a full bar of a band has.
LONGEST_CLOSE = 256
# MidiTok hears a chord where its notes end within so many positions of the first.
CHORD_SPREAD = QUARTER // 2
_STEPS = tuple(CHORDS.values())
_LENGTHS = DURATIONS.tolist()


class _Said(Enum):
    """What the last token was."""

    NOTHING = auto()
    BAR = auto()
    POSITION = auto()
    PROGRAM = auto()
    CHORD = auto()
    PITCH = auto()
    VELOCITY = auto()
    # A note was said to its end.
    NOTE = auto()
    EOS = auto()


class RemiGrammar:
    """A `Grammar` over REMI: bars of 4/4, in a bar positions that rise, at a position programs with their notes.

    A program is named where it changes; at one position each plays once, and which comes first stays so throughout the
    piece. Of its notes none is struck that still sounds. There are 15 programs at most, and drums: a MIDI file has no
    more channels. A chord is named only where MidiTok would hear it: all its notes follow, from the lowest on, struck
    at once, and its program strikes nothing else there, nor in the positions next to it.

    A bar's end shows in the token of the next: `at_bar` is after that. With `Ending.MAY` the piece ends behind a note;
    set to `Ending.MUST` at a bar line it ends there, amid a bar when the model says so or that bar has become too long,
    and no bar begins.
    """

    def __init__(self, before: Iterable[int] = (), limits: Limits = NO_LIMITS):
        """`before`: a prompt. Raises ValueError for an id that is none, and for limits that leave nothing to play."""
        self.ending = Ending.MAY
        self.at_bar = False
        self._said = _Said.NOTHING
        self._players = RemiPlayers(limits)
        # Bars begun, and the last position in the bar, -1 before the first.
        self._bars = 0
        self._position = -1
        # The program that plays, -1 before the first, and the one that played last in this moment.
        self._program = -1
        self._played: int | None = None
        self._pitch = 0
        # The chord being struck, -1 for none, the pitches that it still owes, and where its first note ends.
        self._chord = -1
        self._owed: tuple[int, ...] = ()
        self._chord_end: int | None = None
        # Tokens taken since the piece had to end.
        self._closing = 0
        self._bars_before, self._begun_at = 0, 0
        for token in before:
            self.follow(token)
        self._bars_before = self._bars - (self._said is _Said.BAR)
        self._begun_at = self._now
        self.at_bar = False

    def clone(self) -> "RemiGrammar":
        """The same moment once more, to go another way."""
        twin = RemiGrammar.__new__(RemiGrammar)
        twin.__dict__.update(self.__dict__)
        twin._players = self._players.clone()
        return twin

    @property
    def ended(self) -> bool:
        """The end token was taken."""
        return self._said is _Said.EOS

    @property
    def bars(self) -> Fraction:
        """Bars that ended since the prompt; the prompt's last one is its own."""
        open_bar = not self.ended or self._position < 0
        return Fraction(max(self._bars - self._bars_before - open_bar, 0))

    @property
    def quarters(self) -> Fraction:
        """Quarters from where the prompt had come to."""
        return Fraction(self._now - self._begun_at, QUARTER)

    @property
    def _bar_start(self) -> int:
        return max(self._bars - 1, 0) * BAR_UNITS

    @property
    def _now(self) -> int:
        """In positions, since the beginning of the piece."""
        return self._bar_start + max(self._position, 0)

    def follow(self, token: int) -> None:
        """Take the next token, allowed or not. Raises ValueError for an id that is not in the vocabulary."""
        if not 0 <= token < SIZE:
            raise ValueError(f"an id of REMI must be in range 0..{SIZE - 1}, not {token}")
        self.at_bar = False
        self._closing = self._closing + 1 if self.ending is Ending.MUST else 0
        if self.ended or token < BAR and token != EOS:
            return
        if token == EOS:
            self._said = _Said.EOS
        elif token == BAR:
            self._bars += 1
            self._move(-1)
            self._said = _Said.BAR
            self.at_bar = self._bars > 1
        elif token >= PROGRAM:
            self._program = token - PROGRAM
            self._forget_chord()
            self._said = _Said.PROGRAM
        elif token >= CHORD:
            self._forget_chord()
            self._program = max(self._program, 0)
            self._chord = token - CHORD
            self._said = _Said.CHORD
        elif POSITION <= token < DRUM:
            # As the decoder has it, a position before any bar is in the first.
            self._bars = max(self._bars, 1)
            self._move(token - POSITION)
            self._said = _Said.POSITION
        else:
            self._take_note(token)

    def _move(self, position: int) -> None:
        self._position = position
        self._played = None
        self._forget_chord()

    def _forget_chord(self) -> None:
        self._chord, self._owed, self._chord_end = -1, (), None

    def _take_note(self, token: int) -> None:
        """One of the words that make a note; out of its place it makes none, as the decoder has it."""
        if token >= DRUM or token < VELOCITY:
            # A program that is not named is the first.
            self._program = max(self._program, 0)
            self._pitch = token - DRUM + LOWEST_DRUM if token >= DRUM else token - PITCH + LOWEST
            self._take_pitch_of_chord()
            self._said = _Said.PITCH
        elif token < DURATION:
            self._said = _Said.VELOCITY if self._said is _Said.PITCH else _Said.NOTE
        else:
            if self._said is _Said.VELOCITY:
                self._strike(self._now + _LENGTHS[token - DURATION])
            self._said = _Said.NOTE

    def _take_pitch_of_chord(self) -> None:
        if self._said is _Said.CHORD and self._players.roots(self._chord, self._program, self._now)[self._pitch]:
            self._owed = tuple(self._pitch + step for step in _STEPS[self._chord][1:])
        elif self._owed and self._pitch == self._owed[0]:
            self._owed = self._owed[1:]
        else:
            self._forget_chord()

    def _strike(self, end: int) -> None:
        """A note was said to its end."""
        self._players.strike(self._program, self._pitch, self._now, end)
        if self._played is not None and self._played != self._program:
            self._players.order(self._played, self._program)
        self._played = self._program
        if self._chord < 0:
            return
        self._chord_end = end if self._chord_end is None else self._chord_end
        if not self._owed:
            self._players.rest(self._program, self._now + 2)
            self._forget_chord()

    def allowed(self) -> np.ndarray:
        """(427,) bool: the tokens from which the piece can still be brought to a valid end. Not to be changed."""
        mask = np.zeros(SIZE, dtype=bool)
        said, must = self._said, self.ending is Ending.MUST
        if said is _Said.EOS:
            return mask
        if said is _Said.PITCH:
            mask[VELOCITY:DURATION] = True
        elif said is _Said.VELOCITY:
            self._allow_durations(mask)
        elif said in (_Said.NOTHING, _Said.BAR):
            mask[EOS if must else BAR] = True
            if said is _Said.BAR and not must:
                self._allow_positions(mask)
        elif self._owed:
            mask[self._owed[0] - LOWEST + PITCH] = True
        elif must and said is _Said.NOTE and self._closing >= LONGEST_CLOSE:
            mask[EOS] = True
        else:
            self._allow_music(mask)
        if not mask.any():
            # A prompt may stop where these limits leave nothing to say: what it began is left alone.
            mask[EOS if must else BAR] = True
        return mask

    def _allow_durations(self, mask: np.ndarray) -> None:
        near = True
        if self._chord >= 0 and self._chord_end is not None:
            near = np.abs(self._now + DURATIONS - self._chord_end) <= CHORD_SPREAD
        mask[DURATION:POSITION] = near

    def _allow_music(self, mask: np.ndarray) -> None:
        """What may follow where no note is half said."""
        if self._said is _Said.CHORD:
            roots = self._players.roots(self._chord, self._program, self._now)
            mask[PITCH:VELOCITY] = roots[LOWEST : LOWEST + VELOCITY - PITCH]
            return
        if self._program >= 0:
            self._allow_notes(mask)
        if self._said is _Said.PROGRAM:
            return
        mask[PROGRAM:SIZE] = self._players.ready(self._now, self._played)
        if self._program >= 0:
            mask[PROGRAM + self._program] = False
        if self._said is _Said.NOTE:
            self._allow_positions(mask)
            mask[BAR] = self.ending is not Ending.MUST
            mask[EOS] = self.ending is not Ending.NEVER

    def _allow_notes(self, mask: np.ndarray) -> None:
        """What the program that plays can play now."""
        pitches = self._players.pitches(self._program, self._now)
        if self._program == DRUMS:
            mask[DRUM:CHORD] = pitches[LOWEST_DRUM : LOWEST_DRUM + CHORD - DRUM]
            return
        mask[PITCH:VELOCITY] = pitches[LOWEST : LOWEST + VELOCITY - PITCH]
        mask[CHORD:PROGRAM] = self._players.chords(self._program, self._now)

    def _allow_positions(self, mask: np.ndarray) -> None:
        """Later positions of the bar at which a program can play."""
        first = max(self._position + 1, self._players.earliest - self._bar_start)
        mask[POSITION + min(first, BAR_UNITS) : DRUM] = True
