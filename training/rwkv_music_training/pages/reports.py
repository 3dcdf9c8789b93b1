"""What is measured of a finished model, by the kind of music that it writes, and the pages that say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rwkv_music_training.judging.measure import Findings
from rwkv_music_training.judging.note_measure import NoteFindings
from rwkv_music_training.pages.notes import measured_note_config, note_page_values
from rwkv_music_training.pages.picture import ABC_DRAWING, NOTES_DRAWING, Drawing
from rwkv_music_training.pages.tunes import measured_config, page_values


class Report(Protocol):
    """The measurements of one model, as its pages and its config need them."""

    # The page and the model card of this package that are filled, and how the curve is drawn.
    page: str
    card: str
    drawing: Drawing

    def values(
        self, config: Mapping[str, Any], curve: Sequence[Mapping[str, str]], size: int, picture: str
    ) -> dict[str, str]:
        """What fills the pages."""
        ...

    def measured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What config.json says besides; `config` is what it says already."""
        ...


@dataclass(frozen=True)
class AbcReport:
    """On a model of ABC."""

    found: Findings
    page = "abc_folk.md"
    card = "abc_folk_card.md"
    drawing = ABC_DRAWING

    def values(
        self, config: Mapping[str, Any], curve: Sequence[Mapping[str, str]], size: int, picture: str
    ) -> dict[str, str]:
        """What fills the pages."""
        return page_values(self.found, config, curve, size, picture)

    def measured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What config.json says besides; `config` is what it says already."""
        return measured_config(self.found, config)


@dataclass(frozen=True)
class NotesReport:
    """On a model of MIDI."""

    found: NoteFindings
    page = "midi_score.md"
    card = "midi_score_card.md"
    drawing = NOTES_DRAWING

    def values(
        self, config: Mapping[str, Any], curve: Sequence[Mapping[str, str]], size: int, picture: str
    ) -> dict[str, str]:
        """What fills the pages."""
        return note_page_values(self.found, config, curve, size, picture)

    def measured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What config.json says besides; `config` is what it says already."""
        return measured_note_config(self.found)
