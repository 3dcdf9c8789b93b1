"""The vocabularies of the published RWKV MIDI models: waits of 8 ms, and notes as instrument, pitch and loudness.

A word is `<pad>`, `<start>` or `<end>`, a wait `t1` to `t125` (a second), or a note `pi:3c:7`: instrument, pitch in hex,
level of loudness in hex; level 0 releases the key. Rules: MIDI-LLM-tokenizer (briansemrau, MIT).
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from rwkv_music_tokenizers.errors import NotationError, Place

PAD, START, END = range(3)
SPECIALS = ("<pad>", "<start>", "<end>")
# A wait of n units has the id FIRST_WAIT + n - 1; a unit lasts UNIT milliseconds.
FIRST_WAIT = 3
LONGEST_WAIT = 125
UNIT = 8
SECOND = FIRST_WAIT + LONGEST_WAIT - 1
FIRST_NOTE = 128
PITCHES = 128


@dataclass(frozen=True)
class Instrument:
    """What plays a note: one of the few that General MIDI's programs are gathered into."""

    name: str
    # How it is written in a word.
    short: str
    # General MIDI program that plays it, and the channel that it is played on.
    program: int
    channel: int
    # The programs that it stands for.
    programs: frozenset[int] = frozenset()
    drums: bool = False


class Note(NamedTuple):
    """What a note's word says."""

    # Place among the vocabulary's instruments.
    instrument: int
    pitch: int
    # 0 releases the key.
    level: int


@dataclass(frozen=True)
class MidiWords:
    """A vocabulary, its rules of loudness, and how the published models that speak it part documents."""

    name: str
    instruments: tuple[Instrument, ...]
    # The velocity, 0..127, that each level of loudness is played with; the first is a release.
    velocities: tuple[int, ...]
    # Levels are even steps of curve^(velocity/128); None: a level reaches up to the velocity that it is played with.
    curve: float | None
    # The published player releases a key that was held longer, in milliseconds.
    hold: int
    pad: int
    bos: int
    eos: int

    @property
    def vocabulary_size(self) -> int:
        return FIRST_NOTE + len(self.instruments) * PITCHES * self.levels

    @property
    def levels(self) -> int:
        """How many levels of loudness there are, the release among them."""
        return len(self.velocities)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words in the order of their ids."""
        waits = [f"t{units}" for units in range(1, LONGEST_WAIT + 1)]
        notes = [
            f"{instrument.short}:{pitch:x}:{level:x}"
            for instrument in self.instruments
            for pitch in range(PITCHES)
            for level in range(self.levels)
        ]
        return (*SPECIALS, *waits, *notes)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def by_program(self) -> tuple[int, ...]:
        """The instrument of each General MIDI program; -1 where the vocabulary has none."""
        places = {program: place for place, row in enumerate(self.instruments) for program in row.programs}
        return tuple(places.get(program, -1) for program in range(128))

    @cached_property
    def percussion(self) -> int:
        """The place of the drum kit; -1 in a vocabulary without."""
        return next((place for place, instrument in enumerate(self.instruments) if instrument.drums), -1)

    def note_id(self, note: Note) -> int:
        return FIRST_NOTE + (note.instrument * PITCHES + note.pitch) * self.levels + note.level

    def note(self, number: int) -> Note:
        """The note of an id from FIRST_NOTE on."""
        key, level = divmod(number - FIRST_NOTE, self.levels)
        return Note(*divmod(key, PITCHES), level)

    def level(self, velocity: float) -> int:
        """The level of a velocity; a mix of velocity, volume and expression may lie between whole numbers."""
        velocity = max(0, min(velocity, 127))
        if self.curve is None:
            return bisect_left(self.velocities, velocity)
        step = 128 / (self.levels - 1)
        return math.ceil((128 * ((self.curve ** (velocity / 128) - 1.0) / (self.curve - 1.0))) / step)

    def encode(self, text: str) -> list[int]:
        """Ids of words parted by white space, capitals allowed. Raises NotationError for what is no word."""
        ids = [self.ids.get(word, -1) for word in text.lower().split()]
        if -1 in ids:
            self._refuse(text)
        return ids

    def decode(self, ids: Iterable[int], specials: bool = False) -> str:
        """The words of ids; without `specials`, pad, start and end leave nothing. Raises ValueError for other ids."""
        numbers = self.checked(ids)
        return " ".join(self.words[number] for number in numbers if specials or number > END)

    def document(self, text: str) -> list[int]:
        """A whole text as the models were trained on it, between their separators."""
        return [self.bos, *self.encode(text), self.eos]

    def checked(self, ids: Iterable[int]) -> list[int]:
        """The ids as a list. Raises ValueError for one that is not in the vocabulary."""
        numbers = [int(number) for number in ids]
        for number in numbers:
            if not 0 <= number < self.vocabulary_size:
                raise ValueError(f"an id of {self.name} must be in range 0..{self.vocabulary_size - 1}, not {number}")
        return numbers

    def _refuse(self, text: str) -> None:
        for found in re.finditer(r"\S+", text):
            if found[0].lower() not in self.ids:
                raise NotationError(f"{shown(found[0])} is no word of {self.name}: {self.rule}", place(found))

    @property
    def rule(self) -> str:
        """What the words look like, for messages."""
        return (
            f"words are t1 to t125, and notes like {self.instruments[-1].short}:3c:7 (loudness 0..{self.levels - 1:x})"
        )


def shown(word: str) -> str:
    """A word for a message."""
    return repr(word if len(word) <= 24 else word[:24] + "...")


def place(found: re.Match[str]) -> Place:
    """Where a match begins."""
    before = found.string[: found.start()]
    return Place(before.count("\n") + 1, found.start() - before.rfind("\n"))


def _programs(*ranges: tuple[int, int]) -> frozenset[int]:
    return frozenset(program for first, last in ranges for program in range(first, last + 1))


def _band(marimba: frozenset[int], tuba: frozenset[int], piano: frozenset[int]) -> tuple[Instrument, ...]:
    return (
        Instrument("percussion", "p", 0, 9, drums=True),
        Instrument("drum", "d", 118, 0, _programs((47, 47), (116, 118))),
        Instrument("tuba", "t", 58, 1, tuba),
        Instrument("marimba", "m", 12, 2, marimba),
        Instrument("bass", "b", 32, 3, _programs((32, 39), (42, 43))),
        Instrument("guitar", "g", 25, 4, _programs((24, 31), (104, 108))),
        Instrument("violin", "v", 40, 5, _programs((40, 41), (44, 46), (48, 54), (85, 85), (91, 91), (110, 110))),
        Instrument("trumpet", "tr", 56, 6, _programs((56, 56), (59, 63), (69, 69))),
        Instrument("piano", "pi", 0, 7, piano),
        Instrument("sax", "s", 66, 8, _programs((64, 68), (70, 71), (109, 109), (111, 111))),
        Instrument("flute", "f", 73, 10, _programs((72, 79))),
        Instrument("lead", "l", 80, 11, _programs((80, 84), (86, 87))),
        Instrument("pad", "pa", 88, 12, _programs((88, 90), (92, 95))),
    )


_PIANOS = _programs((0, 7), (17, 23))
MIDI = MidiWords(
    name="midi",
    instruments=_band(marimba=_programs((8, 16), (112, 115)), tuba=_programs((57, 58)), piano=_PIANOS),
    velocities=(0, 8, 17, 27, 37, 47, 58, 70, 83, 97, 111, 127),
    curve=0.5,
    hold=5000,
    pad=PAD,
    bos=PAD,
    eos=PAD,
)
MIDI_PIANO = MidiWords(
    name="midipiano",
    # TRAP of the two: "p" is percussion in `midi`, and the piano here.
    instruments=(Instrument("piano", "p", 0, 0, _PIANOS),),
    velocities=(0, 5, 10, 16, 22, 29, 36, 43, 51, 59, 68, 78, 88, 100, 113, 127),
    curve=0.33,
    hold=5000,
    pad=PAD,
    bos=START,
    eos=END,
)
# The words of `midi` under later rules, which no published model is known to have been trained by.
MIDI_V2 = MidiWords(
    name="midi-v2",
    instruments=_band(
        marimba=_programs((8, 15), (112, 115)),
        tuba=_programs((16, 20), (57, 58)),
        piano=_programs((0, 7), (21, 23)),
    ),
    velocities=(0, 25, 37, 45, 52, 59, 65, 72, 79, 87, 98, 127),
    curve=None,
    hold=10_000,
    pad=PAD,
    bos=PAD,
    eos=PAD,
)
VOCABULARIES = {words.name: words for words in (MIDI, MIDI_PIANO)}
