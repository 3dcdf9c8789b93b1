"""The words of a MIDI model as MIDI events exactly as the published player writes them, rounding and all.

To hear or keep what a model made use `words_to_performance`. Source: MIDI-LLM-tokenizer (MIT), with mido from 1.3 on.
"""

import re

from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_events import Kind, MidiEvent, MidiStream
from rwkv_music_tokenizers.midi_words import PITCHES, UNIT, MidiWords, place, shown
from rwkv_music_tokenizers.performance import DEFAULT_TEMPO

TICKS = 480
# Silence after a document, in milliseconds.
PAUSE = 3000
# Longer waits than t125 are no words, but the player takes them.
_WAIT = re.compile(r"t([0-9]{1,6})")
_NOTE = re.compile(r"([a-z]+):([0-9a-fA-F]{1,2}):([0-9a-fA-F])")


def published_events(text: str, words: MidiWords) -> MidiStream:
    """One track of 480 ticks a quarter at 120 a minute, a channel for each instrument.

    Each wait is rounded to ticks by itself. Keys that are pressed again are released first. At each wait one key
    that was down for too long goes up. `<end>` rests for 3 s and then releases what is down; without it keys stay
    down. Raises NotationError, with the place, for what is neither a wait, a note nor in angle brackets.
    """
    player = _Player(words)
    for found in re.finditer(r"\S+", text):
        player.take(found)
    return MidiStream(1, TICKS, (tuple(player.events),))


class _Player:
    """Takes words and keeps time."""

    def __init__(self, words: MidiWords):
        self.words = words
        self.shorts = {row.short: row for row in words.instruments}
        self.tick = 0
        # Milliseconds since the first word, and since the last event.
        self.time = 0
        self.waited = 0
        # When each key that is down was pressed, by channel and pitch.
        self.down: dict[tuple[int, int], int] = {}
        self.events = [MidiEvent(0, "tempo", -1, DEFAULT_TEMPO)]
        melodic = [row for row in words.instruments if not row.drums]
        self.events += [MidiEvent(0, "program", row.channel, row.program) for row in melodic]
        self.events.append(MidiEvent(0, "program", 9, 0))

    def take(self, found: re.Match[str]) -> None:
        word = found[0]
        if word == "<end>":
            self._wait(PAUSE)
            for key in list(self.down):
                self._release(*key)
        elif wait := _WAIT.fullmatch(word):
            self._wait(UNIT * int(wait[1]))
            late = [key for key, pressed in self.down.items() if self.time - pressed > self.words.hold]
            if late:
                self._release(*late[0])
        elif not word.startswith("<"):
            self._note(found)

    def _wait(self, milliseconds: int) -> None:
        self.time += milliseconds
        self.waited += milliseconds

    def _note(self, found: re.Match[str]) -> None:
        parts = _NOTE.fullmatch(found[0])
        instrument = self.shorts.get(parts[1]) if parts else None
        pitch, level = (int(parts[2], 16), int(parts[3], 16)) if parts else (0, 0)
        if instrument is None or pitch >= PITCHES or level >= self.words.levels:
            raise NotationError(f"{shown(found[0])} cannot be played: {self.words.rule}", place(found))
        key = instrument.channel, pitch
        if level == 0:
            self._release(*key)
            return
        if key in self.down:
            self._release(*key)
        self.down[key] = self.time
        self._add("on", *key, self.words.velocities[level])

    def _release(self, channel: int, pitch: int) -> None:
        self.down.pop((channel, pitch), None)
        self._add("off", channel, pitch, 0)

    def _add(self, kind: Kind, channel: int, pitch: int, velocity: int) -> None:
        self.tick += round(self.waited / 1000.0 / (DEFAULT_TEMPO * 1e-6 / TICKS))
        self.waited = 0
        self.events.append(MidiEvent(self.tick, kind, channel, pitch, velocity))
