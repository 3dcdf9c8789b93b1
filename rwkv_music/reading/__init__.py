"""Music read from files of every form: ABC, MIDI, MusicXML and our own JSON."""
