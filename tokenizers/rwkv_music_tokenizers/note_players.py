"""Which parts of a document of notes may play, from when on, and what, within limits."""

from copy import copy

import numpy as np

from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.note_moment import Moment
from rwkv_music_tokenizers.note_vocabulary import DRUM, PITCH, PROGRAM

_NEVER = 1 << 40


class Players:
    """The parts that may play; a part with a program that may not is never among them."""

    def __init__(self, limits: Limits):
        # (129,) bool: programs that may play, the last of them the drums.
        self.programs = np.ones(129, dtype=bool)
        if limits.programs:
            self.programs[:128] = False
            self.programs[list(limits.programs)] = True
        self.programs[128] = limits.drums
        # By part, from when on it can play another note.
        self.free: dict[int, int] = {}
        self._polyphony = limits.polyphony
        self._pitches = np.zeros(128, dtype=bool)
        self._pitches[list(limits.pitches)] = True

    def clone(self) -> "Players":
        """The same once more, to go another way."""
        twin = copy(self)
        twin.free = self.free.copy()
        return twin

    @property
    def earliest(self) -> int:
        """From when on any part can play another note."""
        return min(self.free.values())

    def declare(self, moment: Moment, part: int) -> None:
        """A part was added to the header."""
        free = self._free_from(moment, part)
        if self.programs[moment.programs[part] - PROGRAM] and free < _NEVER:
            self.free[part] = free

    def play(self, moment: Moment) -> None:
        """The part that plays has played something."""
        if moment.part in self.free:
            self.free[moment.part] = self._free_from(moment, moment.part)

    def allow_pitches(self, mask: np.ndarray, moment: Moment) -> None:
        """Allow what the part that plays can play now, above what it has played at this time."""
        if moment.part not in self.free:
            return
        until = moment.until[moment.part]
        if self._polyphony and np.count_nonzero(until > moment.now) >= self._polyphony:
            return
        playable = until <= moment.now
        playable[: max(moment.group_pitch + 1, 0)] = False
        if moment.drums(moment.part):
            mask[DRUM : DRUM + 128] = playable
        else:
            mask[PITCH : PITCH + 128] = playable & self._pitches

    def _free_from(self, moment: Moment, part: int) -> int:
        until = moment.until[part]
        free = int(until.min() if moment.drums(part) else until[self._pitches].min(initial=_NEVER))
        most = self._polyphony
        return max(free, int(np.partition(until, -most)[-most])) if 0 < most <= len(until) else free
