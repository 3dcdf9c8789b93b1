"""What can be wrong with notation, and where."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A spot in a text: line and column, both counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True)
class NotationWarning:
    """Something odd that could still be read."""

    message: str
    place: Place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class NotationError(ValueError):
    """Music that cannot be read. `message` states the rule and the mend, `place` the spot (None: the whole text)."""

    def __init__(self, message: str, place: Place | None = None):
        super().__init__(f"{place}: {message}" if place else message)
        self.message = message
        self.place = place


class MidiError(NotationError):
    """A MIDI file that cannot be read; `byte` is where, counted from 0 (None: the whole file)."""

    def __init__(self, message: str, byte: int | None = None):
        super().__init__(message if byte is None else f"byte {byte}: {message}")
        self.byte = byte
