"""What may follow in the words of a MIDI model, so that each key that goes down comes up, and the piece can end."""

from fractions import Fraction
from itertools import takewhile

import numpy as np

from rwkv_music_tokenizers.grammar import NO_LIMITS, Ending, Limits
from rwkv_music_tokenizers.midi_words import (
    END,
    FIRST_NOTE,
    FIRST_WAIT,
    LONGEST_WAIT,
    PITCHES,
    SECOND,
    UNIT,
    MidiWords,
)

# How long a key may be down, in milliseconds.
LONGEST_NOTE = 8000
# The most that is waited in a row, in units: the published data has no longer waits.
LONGEST_SILENCE = 10 * LONGEST_WAIT
# At 120 quarters a minute and 4/4, in units.
QUARTER = Fraction(500, UNIT)
BAR = 4 * QUARTER


class MidiWordGrammar:
    """A `Grammar` over the words of a MIDI model.

    A key that is up may be pressed, one that is down released, and after that pressed again; each once in a moment,
    and none is released in the moment in which it was pressed. So it is for drums too: the published data releases
    them like any key. Words of one moment may come in any order. When a key was down for so long that another wait
    could exceed `longest`, its release is all that may follow. Waits are not restricted, save that after 10 s of
    nothing else a note has to come. The piece ends where no key is down; then the model's separator and `<end>` are
    the same. `Ending.MUST` leaves waits and releases until all keys are up, and then the end.

    These words know no bars: a bar is two seconds here, and `at_bar` is after the first wait that completes them.
    Limits hold for what is pressed: keys that are down may always come up. A vocabulary's instrument may play when
    one of the programs that it stands for may.
    """

    def __init__(
        self,
        words: MidiWords,
        limits: Limits = NO_LIMITS,
        ending: Ending = Ending.MAY,
        longest: int = LONGEST_NOTE,
    ):
        """`longest`: how long a key may be down, milliseconds. Raises ValueError when nothing may be played."""
        if longest < 2 * UNIT * LONGEST_WAIT:
            raise ValueError(f"a key must be allowed to be down for at least 2000 ms, not {longest}")
        self.words = words
        self.ending = ending
        self.ended = False
        self.at_bar = False
        self._limit = limits.polyphony
        self._due = longest // UNIT - LONGEST_WAIT
        self._may = _may_play(words, limits)
        if not self._may.any():
            raise ValueError("these limits leave nothing to play: expected a pitch and an instrument of the model")
        self._ends = sorted({words.eos, END})
        # In units: now, the last at_bar, and since the last note or release.
        self._time = 0
        self._barred = 0
        self._silence = 0
        # Something was followed at all; something was played since the last separator.
        self._begun = False
        self._played = False
        # Keys (instrument and pitch in one number) that are down and since when, the longest first.
        self._down: dict[int, int] = {}
        # Keys of which nothing more may be said in this moment.
        self._settled: set[int] = set()
        # How many keys are down, by instrument.
        self._sounding = [0] * len(words.instruments)
        # What may follow if the piece goes on and no release is due.
        self._open = np.zeros(words.vocabulary_size, bool)
        self._open[FIRST_WAIT : SECOND + 1] = True
        self._keys()[:, 1:] = self._may[:, None]

    def _keys(self) -> np.ndarray:
        """A view of what is open, by key and level."""
        return self._open[FIRST_NOTE:].reshape(-1, self.words.levels)

    def allowed(self) -> np.ndarray:
        due = self._overdue()
        if due:
            return self._closing(due, waits=False)
        if self.ending is Ending.MUST:
            return self._closing([key for key in self._down if key not in self._settled], waits=True)
        allowed = self._open.copy()
        if self.ending is Ending.MAY and self._played and not self._down:
            allowed[self._ends] = True
        return allowed

    def _overdue(self) -> list[int]:
        """The keys that have to come up before another wait."""
        return list(takewhile(lambda key: self._time - self._down[key] > self._due, self._down))

    def _closing(self, keys: list[int], waits: bool) -> np.ndarray:
        """Only releases; waits while keys are down; the end when none is."""
        allowed = np.zeros(len(self._open), bool)
        if self._down:
            allowed[FIRST_WAIT : SECOND + 1] = waits
            allowed[FIRST_NOTE + np.array(keys, np.int64) * self.words.levels] = True
        else:
            allowed[self._ends] = True
        return allowed

    def follow(self, token: int) -> None:
        self.at_bar = False
        if token >= FIRST_NOTE:
            self._note(*divmod(token - FIRST_NOTE, self.words.levels))
        elif token >= FIRST_WAIT:
            self._wait(token - FIRST_WAIT + 1)
        elif token in self._ends:
            # The first token of a prompt is a separator that ends nothing.
            self.ended = self._begun or self.ending is Ending.MUST
            self._part()
        self._begun = True

    def _note(self, key: int, level: int) -> None:
        self.ended = False
        self._silence = 0
        self._open[FIRST_WAIT : SECOND + 1] = True
        instrument = key // PITCHES
        had_room = self._has_room(instrument)
        if key in self._down:
            del self._down[key]
            self._sounding[instrument] -= 1
        if level:
            self._played = True
            self._down[key] = self._time
            self._sounding[instrument] += 1
            self._settled.add(key)
        if had_room != self._has_room(instrument):
            self._refresh_instrument(instrument)
        self._refresh(key)

    def _wait(self, units: int) -> None:
        self.ended = False
        self._time += units
        self._silence += units
        if self._silence >= LONGEST_SILENCE:
            self._open[FIRST_WAIT : SECOND + 1] = False
        settled, self._settled = self._settled, set()
        for key in settled:
            self._refresh(key)
        if self._time - self._barred >= BAR:
            self.at_bar = True
            self._barred = self._time

    def _part(self) -> None:
        """After a separator all keys are up."""
        touched = [*self._down, *self._settled]
        self._down, self._settled = {}, set()
        self._sounding = [0] * len(self._sounding)
        self._played = False
        for key in touched:
            self._refresh(key)
        for instrument in {key // PITCHES for key in touched} if self._limit else ():
            self._refresh_instrument(instrument)

    def _refresh(self, key: int) -> None:
        """What may be said of a key."""
        levels = self._keys()[key]
        settled, down = key in self._settled, key in self._down
        levels[0] = down and not settled
        levels[1:] = not settled and not down and self._may[key] and self._has_room(key // PITCHES)

    def _refresh_instrument(self, instrument: int) -> None:
        """What may be pressed of an instrument whose keys are limited in number."""
        keys = range(instrument * PITCHES, (instrument + 1) * PITCHES)
        pressed = self._keys()[keys.start : keys.stop, 1:]
        pressed[:] = self._has_room(instrument) and self._may[keys.start : keys.stop, None]
        for key in (*self._down, *self._settled):
            if key in keys:
                pressed[key - keys.start] = False

    def _has_room(self, instrument: int) -> bool:
        return not self._limit or self._sounding[instrument] < self._limit

    def clone(self) -> "MidiWordGrammar":
        twin = object.__new__(MidiWordGrammar)
        twin.__dict__.update(self.__dict__)
        twin._down, twin._settled = self._down.copy(), self._settled.copy()
        twin._sounding, twin._open = self._sounding.copy(), self._open.copy()
        return twin

    @property
    def bars(self) -> Fraction:
        return self._time / BAR

    @property
    def quarters(self) -> Fraction:
        return self._time / QUARTER


def _may_play(words: MidiWords, limits: Limits) -> np.ndarray:
    """Which keys new music may press: (instruments * 128,) bool."""
    pitches = np.zeros(PITCHES, bool)
    pitches[list(limits.pitches)] = True
    rows = []
    for instrument in words.instruments:
        if instrument.drums:
            rows.append(np.full(PITCHES, limits.drums))
        else:
            rows.append(pitches & (not limits.programs or bool(limits.programs & instrument.programs)))
    return np.concatenate(rows)
