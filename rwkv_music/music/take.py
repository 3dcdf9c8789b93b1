"""A take: one way in which a piece went on, whole and closed, in every form that it can be had."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rwkv_music.compose import Piece
from rwkv_music.files import FileError, refuse_overwriting
from rwkv_music.made import Made, snapshot_of
from rwkv_music.making import Making
from rwkv_music.model.state import State
from rwkv_music.snapshots import save_snapshot
from rwkv_music.works import Work
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.score import Score

STATE_SUFFIX = ".rwkvstate"


class PlayedNote(NamedTuple):
    """A note as it sounds."""

    # Seconds from the beginning.
    start_s: float
    end_s: float
    # MIDI numbers: 60 is C4.
    pitch: int
    velocity: int
    # General MIDI, 0..127; of drums the kit.
    program: int
    drums: bool


def played_notes(performance: Performance) -> tuple[PlayedNote, ...]:
    """Every note of a performance, in the order of their beginnings."""
    found: list[PlayedNote] = []
    for track in performance.tracks:
        starts, ends = (performance.seconds(track.notes[:, column]).tolist() for column in (0, 1))
        for start, end, (_, _, pitch, velocity) in zip(starts, ends, track.notes.tolist(), strict=True):
            found.append(PlayedNote(start, end, pitch, velocity, track.program, track.drums))
    return tuple(sorted(found))


@dataclass(frozen=True, eq=False)
class Take:
    """Made by `Model.generate` or in a `Session`. Where a form cannot be had, asking for it raises NotationError."""

    # Its number in the session that it grew in.
    number: int
    # A tune in ABC, or a performance.
    work: Work = field(repr=False)
    # Everything that decides how it came out; `generate --like` makes it again.
    making: Making = field(repr=False)
    # The model ended the piece; else it was cut where it had the length that was asked for.
    ended: bool
    # Bars of new music.
    bars: float
    _piece: Piece = field(repr=False)

    @property
    def seed(self) -> int:
        """What the generator began with."""
        return self.making.seed

    @cached_property
    def abc(self) -> str:
        """The piece in ABC; of a performance, what a reader of music would write down."""
        return self.work.abc

    @cached_property
    def midi(self) -> bytes:
        """A MIDI file, which remembers how it was made."""
        return self.work.midi([self.making.line()])

    @property
    def score(self) -> Score:
        """The piece as it is written."""
        return self.work.score

    @cached_property
    def performance(self) -> Performance:
        """The piece as it is played."""
        return self.work.performance

    @cached_property
    def notes(self) -> tuple[PlayedNote, ...]:
        """Every note that sounds, in the order of their beginnings."""
        return played_notes(self.performance)

    @property
    def seconds(self) -> float:
        """When the last note ends."""
        return max((note.end_s for note in self.notes), default=0.0)

    @property
    def text(self) -> str:
        """Prompt and new music as the model wrote them, nothing closed."""
        return self._piece.shown

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and new music in the ids of the model."""
        return self._piece.memory.tokens

    @property
    def state(self) -> State:
        """What the model remembers after the last token."""
        return self._piece.memory.state

    def save(
        self, path: str | Path, *, overwrite: bool = False, soundfont: str | Path | None = None, chords: bool = True
    ) -> Path:
        """Write it in the format of the path's suffix, with the line that tells its making; returns the path.

        Music: .abc .mid .wav .svg .musicxml .json; .rwkvstate keeps the state, from which `Model.load` goes on.
        soundfont: instruments of a .wav, an .sf2 file; chords: chord symbols are played. Raises UserError (for a file
        that exists, an unknown suffix, a missing soundfont), NotationError or OSError.
        """
        path = Path(path)
        refuse_overwriting([path], force=True)
        if path.exists() and not overwrite:
            raise FileError(f"{path} exists; overwrite=True overwrites it")
        if path.suffix.lower() == STATE_SUFFIX:
            save_snapshot(snapshot_of(self._piece, self.making.model), path)
        else:
            font = None if soundfont is None else Path(soundfont)
            Made(self.work, self.making.line()).save(path, font, accompaniment=chords)
        return path

    def _repr_html_(self) -> str:
        """What a notebook shows: the piano roll, and the sound where there is a soundfont. Needs no network."""
        from rwkv_music.music.page import page

        return page(self)
