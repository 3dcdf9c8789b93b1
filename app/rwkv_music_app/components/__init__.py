"""Piano roll, sheet music and player for any Gradio app; docs/components.md tells how."""

from rwkv_music_app.components.midi_player import MidiPlayer
from rwkv_music_app.components.music_value import Music
from rwkv_music_app.components.piano_roll import PianoRoll
from rwkv_music_app.components.sheet_music import SheetMusic

__all__ = ["MidiPlayer", "Music", "PianoRoll", "SheetMusic"]
