"""How a score is rendered into a file."""

from dataclasses import dataclass
from pathlib import Path

from rwkv_music_tokenizers.midi_writer import DEFAULTS as MIDI_DEFAULTS
from rwkv_music_tokenizers.midi_writer import MidiOptions


@dataclass(frozen=True)
class RenderOptions:
    """Everything that decides what a file holds, besides the score itself."""

    # Play chord symbols (MIDI and WAV).
    accompaniment: bool = True
    midi: MidiOptions = MIDI_DEFAULTS
    # The soundfont of a WAV; None looks for one.
    soundfont: Path | None = None
    # The longest WAV, in seconds.
    max_seconds: float = 1200.0
    # What the file remembers of its making.
    remarks: tuple[str, ...] = ()
    # The text to write as ABC; None writes the score.
    abc_text: str | None = None


DEFAULTS = RenderOptions()
