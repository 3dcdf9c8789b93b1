"""Pitches by their written name, and key signatures: tonics, modes and what they sharpen or flatten."""

from dataclasses import dataclass

STEPS = "CDEFGAB"
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
SHARPS_IN_ORDER = "FCGDAEB"
# How many fifths below the major key of the same tonic a mode's signature lies.
MODES = {
    "major": 0,
    "ionian": 0,
    "lydian": -1,
    "mixolydian": 1,
    "dorian": 2,
    "minor": 3,
    "aeolian": 3,
    "phrygian": 4,
    "locrian": 5,
}


@dataclass(frozen=True)
class Pitch:
    """A written pitch: step "C".."B", alter in semitones (sharp 1, flat -1), octave 4 from middle C upwards."""

    step: str
    alter: int
    octave: int

    @property
    def midi(self) -> int:
        """MIDI key number; middle C is 60."""
        return 12 * (self.octave + 1) + SEMITONES[self.step] + self.alter


@dataclass(frozen=True)
class Key:
    """A key signature. `tonic` is "" for none (ABC K:none and K: with accidentals only).

    `extra` are explicit accidentals on top of the mode's own, as (step, alter); `properties` is the rest of the field
    as text (clef, transposition).
    """

    tonic: str = "C"
    mode: str = "major"
    extra: tuple[tuple[str, int], ...] = ()
    # The Highland pipe keys of ABC: "HP" (shown without signature) and "Hp"; both sound as D mixolydian's two sharps.
    pipes: str = ""
    properties: str = ""
    # ABC "exp": the signature is `extra` alone, whatever tonic and mode are called.
    explicit: bool = False

    @property
    def fifths(self) -> int:
        """Sharps (positive) or flats (negative) in the signature, before `extra`."""
        if self.pipes:
            return 2
        if not self.tonic or self.explicit:
            return 0
        accidentals = self.tonic.count("#") - self.tonic.count("b")
        return FIFTHS[self.tonic[0]] + 7 * accidentals - MODES[self.mode]

    def alter(self, step: str) -> int:
        """Semitones by which the signature alters a step."""
        for name, alter in self.extra:
            if name == step:
                return alter
        place = SHARPS_IN_ORDER.index(step)
        fifths = self.fifths
        if fifths >= 0:
            return (fifths + 6 - place) // 7
        return -((-fifths + place) // 7)
