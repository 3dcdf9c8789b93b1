"""Scores made visible and audible: sheets, MIDI, sound, files by suffix."""
