"""Music as data: scores, ABC, MIDI, codecs and grammar."""
