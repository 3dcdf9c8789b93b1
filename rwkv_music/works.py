"""What is made: a tune in ABC, or a performance; either can be read as a score and heard as MIDI."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_writer import DEFAULTS, MidiOptions, write_midi
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_tokenizers.score import Score


@dataclass(frozen=True)
class Tune:
    """A tune as it is written; `abc` is whole and closed."""

    abc: str

    @cached_property
    def score(self) -> Score:
        """The tune as data."""
        return read_abc(self.abc)

    @property
    def performance(self) -> Performance:
        """The tune as it is played, chord symbols and all."""
        return read_midi(self.midi())

    def midi(
        self, remarks: Sequence[str] = (), options: MidiOptions = DEFAULTS, *, accompaniment: bool = True
    ) -> bytes:
        """A MIDI file. Raises NotationError for a tune that is too long."""
        return write_midi(self.score, remarks=remarks, accompaniment=accompaniment, options=options)


@dataclass(frozen=True, eq=False)
class Played:
    """A piece as it is played; its score is what a reader of music would write down."""

    performance: Performance

    @cached_property
    def score(self) -> Score:
        """The piece as it would be written. Raises NotationError for one that is too long."""
        from rwkv_music_tokenizers.score_of_performance import score_of_performance

        return score_of_performance(self.performance).score

    @property
    def abc(self) -> str:
        """The score as ABC."""
        from rwkv_music_tokenizers.abc_writer import write_abc

        return write_abc(self.score)

    def midi(
        self, remarks: Sequence[str] = (), options: MidiOptions = DEFAULTS, *, accompaniment: bool = True
    ) -> bytes:
        """A MIDI file."""
        return write_performance(self.performance, remarks)


Work: TypeAlias = Tune | Played
