"""What key the notes are in where nobody says, and how a pitch is written in a key.

The key is estimated as C. Krumhansl and M. Schmuckler do it (Krumhansl, "Cognitive Foundations of Musical Pitch",
1990, chapter 4): durations by pitch class are correlated with a profile of each key.
"""

import numpy as np

from rwkv_music_tokenizers.keys import FIFTHS, STEPS, Key, Pitch
from rwkv_music_tokenizers.midi_writer import MAJOR_KEYS, MINOR_KEYS

# The probe tone ratings of Krumhansl and Kessler (1982), from the tonic up.
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
# The signature of each tonic, from C up; of six sharps and six flats the flats.
_MAJOR_FIFTHS = (0, -5, 2, -3, 4, -1, -6, 1, -4, 3, -2, 5)


def key_of(fifths: int, minor: bool) -> Key:
    """The major or minor key with so many sharps (flats negative), -7..7."""
    return Key(MINOR_KEYS[fifths + 7], "minor") if minor else Key(MAJOR_KEYS[fifths + 7])


def estimate_key(durations: np.ndarray) -> Key:
    """The key of music whose pitch classes from C sound for `durations` (12,); C major where nothing sounds."""
    if not durations.any():
        return key_of(0, False)
    best, key = -2.0, key_of(0, False)
    for tonic in range(12):
        for minor, profile in ((False, MAJOR_PROFILE), (True, MINOR_PROFILE)):
            likeness = _correlation(durations, np.roll(profile, tonic))
            if likeness > best:
                # A minor key has the signature of the major key a minor third above.
                best, key = likeness, key_of(_MAJOR_FIFTHS[(tonic + 3 * minor) % 12], minor)
    return key


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / size) if size else 0.0


def spellings(key: Key) -> tuple[tuple[str, int], ...]:
    """For each pitch class from C the step and its alteration in a key.

    Twelve neighbours on the line of fifths: a major key reaches from its minor third to its raised fifth, a minor key
    from its lowered second to its raised sixth and seventh, and the raised fourth.
    """
    lowest = key.fifths - (2 if key.mode == "minor" else 3)
    found: list[tuple[str, int]] = [("C", 0)] * 12
    for place in range(lowest, lowest + 12):
        alter, step = divmod(place + 1, 7)
        found[place * 7 % 12] = _respelled("FCGDAEB"[step], alter)
    return tuple(found)


def _respelled(step: str, alter: int) -> tuple[str, int]:
    """Double sharps and flats, which only the fullest signatures bring, as their plain neighbours."""
    if abs(alter) < 2:
        return step, alter
    sound = (FIFTHS[step] + 7 * alter) * 7 % 12
    plain = next(name for name in STEPS if FIFTHS[name] * 7 % 12 == sound)
    return plain, 0


def spelled(pitch: int, names: tuple[tuple[str, int], ...]) -> Pitch:
    """A MIDI key number as it is written."""
    step, alter = names[pitch % 12]
    # B sharp belongs to the octave below, C flat to the one above.
    natural = pitch - alter
    return Pitch(step, alter, natural // 12 - 1)
