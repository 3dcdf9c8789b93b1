"""What a MIDI model wrote as music to hear and keep: time never drifts, no note hangs, each note ends before its next."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rwkv_music_tokenizers.midi_words import END, FIRST_NOTE, FIRST_WAIT, PAD, UNIT, MidiWords
from rwkv_music_tokenizers.performance import Performance, Track, rows

# Ticks of a quarter of half a second: a tick is a millisecond.
TICKS = 500
# The rest between documents, in milliseconds.
PAUSE = 3000


def words_to_performance(ids: Iterable[int], words: MidiWords) -> Performance:
    """The music of ids: a track for each instrument that plays, 120 quarters a minute, a millisecond a tick.

    A key pressed again ends its note; one that is pressed twice at once counts once, the louder; one that is released
    at once, as drums often are, sounds for 8 ms. A note whose release
    is missing (by the time its key is pressed again, or the document ends) lasts no longer than the published player
    holds a key; such a note may sound on in the rest of 3 s between two documents. A release says how long a note
    really is, however long. Raises ValueError for an id that is not in the vocabulary.
    """
    listener = _Listener(words)
    for number in words.checked(ids):
        listener.take(number)
    listener.part()
    return Performance(tuple(_tracks(listener.notes, words)), TICKS)


def _tracks(notes: Sequence[list[tuple[int, int, int, int]]], words: MidiWords) -> Iterable[Track]:
    for instrument, played in zip(words.instruments, notes, strict=True):
        if played:
            ordered = sorted(played, key=lambda note: (note[0], note[2], note[1]))
            yield Track(rows(ordered, 4), instrument.program, instrument.drums, instrument.name)


class _Held(NamedTuple):
    """A note that sounds."""

    began: int
    velocity: int
    # Its key went up in the very moment in which it was pressed.
    brief: bool = False


class _Listener:
    """Takes ids and keeps time, in milliseconds."""

    def __init__(self, words: MidiWords):
        self.words = words
        self.time = 0
        # Something was played since the last separator.
        self.played = False
        # By instrument and pitch.
        self.sounding: dict[tuple[int, int], _Held] = {}
        # By instrument: start, end, pitch, velocity.
        self.notes: list[list[tuple[int, int, int, int]]] = [[] for _ in words.instruments]

    def take(self, number: int) -> None:
        if number >= FIRST_NOTE:
            note = self.words.note(number)
            key = note.instrument, note.pitch
            if note.level:
                self._press(key, self.words.velocities[note.level])
            else:
                self._release(key)
        elif number >= FIRST_WAIT:
            self.time += UNIT * (number - FIRST_WAIT + 1)
        elif number in (PAD, END):
            self.part()

    def _press(self, key: tuple[int, int], velocity: int) -> None:
        held = self.sounding.get(key)
        if held and held.began == self.time:
            velocity = max(velocity, held.velocity)
        elif held:
            self._end(key, min(self.time, held.began + self.words.hold))
        self.sounding[key] = _Held(self.time, velocity)
        self.played = True

    def _release(self, key: tuple[int, int]) -> None:
        held = self.sounding.get(key)
        if held and held.began == self.time:
            self.sounding[key] = held._replace(brief=True)
        elif held:
            self._end(key, self.time)

    def _end(self, key: tuple[int, int], end: int) -> None:
        held = self.sounding.pop(key)
        instrument, pitch = key
        self.notes[instrument].append((held.began, held.began + UNIT if held.brief else end, pitch, held.velocity))

    def part(self) -> None:
        """The end of a document; several separators in a row are one."""
        if self.played:
            for key, held in list(self.sounding.items()):
                self._end(key, min(held.began + self.words.hold, self.time + PAUSE))
            self.time += PAUSE
        self.played = False
