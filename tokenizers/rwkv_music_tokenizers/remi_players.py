"""Which programs of a piece in REMI may play, from when on, in which order and which pitches, within limits."""

from copy import copy

import numpy as np

from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.remi_vocabulary import CHORD, CHORDS, DRUM, DRUMS, LOWEST, LOWEST_DRUM, PITCH, VELOCITY

# A MIDI file has 16 channels, one of them for drums.
MOST_PROGRAMS = 15
_NEVER = 1 << 40
_WIDEST = max(map(max, CHORDS.values()))
_SIZES = np.array([len(steps) for steps in CHORDS.values()])
# (128, 14, 5): by lowest note and chord its pitches, the first in place of those that it has not.
_CHORD_PITCHES = (
    np.arange(128)[:, None, None] + np.array([(*steps, *[0] * (5 - len(steps))) for steps in CHORDS.values()])[None]
)


class RemiPlayers:
    """All programs, the drums last. Times are in positions since the beginning of the piece."""

    def __init__(self, limits: Limits):
        """Raises ValueError when nothing may be played."""
        self._polyphony = limits.polyphony
        # (129, 128): the pitches that each may play, and until when they sound.
        self._may = _may_play(limits)
        self._until = np.zeros((DRUMS + 1, 128), dtype=np.int64)
        # (129,): from when on each can play another note, and when it played last.
        self._free = np.where(self._may.any(axis=1), 0, _NEVER)
        self._struck = np.full(DRUMS + 1, -_NEVER)
        # (129, 129): [a, b] where a came before b in some moment; MidiTok keeps one order throughout a piece.
        self._before = np.zeros((DRUMS + 1, DRUMS + 1), dtype=bool)
        self._pitched: set[int] = set()
        if self.earliest == _NEVER:
            raise ValueError("these limits leave nothing to play: expected pitches of 21 to 109, or drums")

    def clone(self) -> "RemiPlayers":
        """The same once more, to go another way."""
        twin = copy(self)
        twin._until, twin._free, twin._struck = self._until.copy(), self._free.copy(), self._struck.copy()
        twin._before, twin._pitched = self._before.copy(), self._pitched.copy()
        return twin

    @property
    def earliest(self) -> int:
        """From when on any can play another note."""
        return int(self._free.min())

    def ready(self, now: int, after: int | None) -> np.ndarray:
        """(129,) bool: the programs that can play now, after the one that played last in this moment, if there is."""
        ready = self._free <= now
        return ready if after is None else ready & ~self._before[:, after]

    def pitches(self, program: int, now: int) -> np.ndarray:
        """(128,) bool: what a program can play now."""
        if self._free[program] > now:
            return np.zeros(128, dtype=bool)
        return self._may[program] & (self._until[program] <= now)

    def chords(self, program: int, now: int) -> np.ndarray:
        """(14,) bool: the chords that a program can strike now; none within a position of other notes of its own."""
        return np.any(self._chords(program, now), axis=0)

    def roots(self, chord: int, program: int, now: int) -> np.ndarray:
        """(128,) bool: the lowest notes on which a program can strike a chord, by its number, now."""
        return self._chords(program, now)[:, chord]

    def _chords(self, program: int, now: int) -> np.ndarray:
        """(128, 14) bool: by lowest note and chord, whether a program can strike it now."""
        if program == DRUMS or self._struck[program] >= now - 1:
            return np.zeros((128, len(CHORDS)), dtype=bool)
        free = np.append(self.pitches(program, now), np.zeros(_WIDEST, dtype=bool))
        possible = np.all(free[_CHORD_PITCHES], axis=2)
        if self._polyphony:
            sounding = np.count_nonzero(self._until[program] > now)
            possible[:, sounding + _SIZES > self._polyphony] = False
        return possible

    def strike(self, program: int, pitch: int, now: int, end: int) -> None:
        """A program plays a note."""
        row = self._until[program]
        row[pitch] = max(end, row[pitch])
        self._struck[program] = now
        if self._free[program] < _NEVER:
            free = row[self._may[program]].min()
            most = self._polyphony
            self._free[program] = max(free, np.partition(row, -most)[-most]) if 0 < most <= len(row) else free
        if program != DRUMS and program not in self._pitched:
            self._pitched.add(program)
            self._close_when_full()

    def _close_when_full(self) -> None:
        """When there are as many programs as channels no more join, unless none of them may play."""
        if len(self._pitched) < MOST_PROGRAMS:
            return
        free = np.full_like(self._free, _NEVER)
        there = [*self._pitched, DRUMS]
        free[there] = self._free[there]
        if free.min() < _NEVER:
            self._free = free

    def rest(self, program: int, until: int) -> None:
        """A program plays nothing before a time."""
        self._free[program] = max(self._free[program], until)

    def order(self, earlier: int, later: int) -> None:
        """In one moment one program came after another: so it stays, and so with those before and after them."""
        first, last = self._before[:, earlier].copy(), self._before[later].copy()
        first[earlier] = last[later] = True
        self._before |= np.outer(first, last)


def _may_play(limits: Limits) -> np.ndarray:
    """(129, 128) bool: the pitches that there are words for, within limits."""
    pitches, drums = np.zeros(128, dtype=bool), np.zeros(128, dtype=bool)
    pitches[list(limits.pitches)] = True
    pitches[:LOWEST] = pitches[LOWEST + VELOCITY - PITCH :] = False
    drums[LOWEST_DRUM : LOWEST_DRUM + CHORD - DRUM] = limits.drums
    programs = np.ones(DRUMS, dtype=bool)
    if limits.programs:
        programs[:] = False
        programs[list(limits.programs)] = True
    return np.vstack([programs[:, None] & pitches, drums])
