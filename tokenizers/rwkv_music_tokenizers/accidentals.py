"""Which accidentals hold at a spot of the music, as the ABC standard lets them: ties, then the bar, then the key."""

from collections.abc import Sequence


class Accidentals:
    """What a note of one layer sounds that is written without an accidental. Degrees are 7 * octave + step."""

    def __init__(self, signature: Sequence[int], reach: str = "pitch"):
        # Semitones by which the key alters each of the seven steps from C.
        self.signature = signature
        # How far an accidental reaches within its bar: "pitch" (every octave), "octave" or "not".
        self.reach = reach
        # Notes that a tie holds into the next event: degree -> alter.
        self.ties: dict[int, int] = {}
        self._written: dict[int, int] = {}

    def implied(self, degree: int) -> int:
        """The alteration of a note at that degree without an accidental."""
        if degree in self.ties:
            return self.ties[degree]
        alter = self._written.get(degree % 7 if self.reach == "pitch" else degree)
        return self.signature[degree % 7] if alter is None else alter

    def write(self, degree: int, alter: int) -> None:
        """An accidental is written there."""
        if self.reach != "not":
            self._written[degree % 7 if self.reach == "pitch" else degree] = alter

    def end_bar(self) -> None:
        """A bar line: accidentals end, ties go on."""
        self._written.clear()
