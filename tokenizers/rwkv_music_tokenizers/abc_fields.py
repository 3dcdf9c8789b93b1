"""The values of ABC's fields: keys, meters, unit lengths, tempi and voices, each from its text.

Every reader here returns None for a value that says nothing it knows; the caller warns, with the place.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Meter, Tempo

# The largest number that a meter or tempo may hold.
LARGEST = 1000

MODE_NAMES = {
    "maj": "major",
    "min": "minor",
    "m": "minor",
    "ion": "ionian",
    "dor": "dorian",
    "phr": "phrygian",
    "lyd": "lydian",
    "mix": "mixolydian",
    "aeo": "aeolian",
    "loc": "locrian",
}
ACCIDENTALS = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}

TONIC = re.compile(r"([A-G])([#b♯♭]?)")
MODE = re.compile(r"\s*(?:(maj|min|ion|dor|phr|lyd|mix|aeo|loc)[a-z]*|(m)(?![a-zA-Z=]))", re.IGNORECASE)
EXTRA = re.compile(r"(\^{1,2}|_{1,2}|=)([A-Ga-g])")
CLEF_FIRST = re.compile(r"(?:[a-z]+=|treble|alto|tenor|bass|perc|auto)")
QUOTED = re.compile(r'"([^"]*)"')
FRACTION = re.compile(r"([0-9]{1,6})\s*/\s*([0-9]{1,6})")
NO_TONIC = Key(tonic="")


@dataclass(frozen=True)
class Voice:
    """What a V: field says: the voice's identifier and the rest as text."""

    name: str
    properties: str = ""


@lru_cache(maxsize=256)
def read_key(text: str, before: Key | None = None) -> Key | None:
    """A K: value: "G", "Ador", "D exp _b ^c", "HP", "none". One that names only a clef keeps the key `before`."""
    text = text.strip()
    if not text or text.lower().startswith("none"):
        return _with_rest(NO_TONIC, text[4:])
    if text[:2] in ("HP", "Hp"):
        return _with_rest(Key("D", "mixolydian", pipes=text[:2]), text[2:])
    if before and CLEF_FIRST.match(text):
        return replace(before, properties=text)
    if text[0] in "^_=" or CLEF_FIRST.match(text) or text.startswith("exp"):
        return _with_rest(NO_TONIC, text)
    tonic = TONIC.match(text)
    if not tonic:
        return None
    accidental = tonic[2].replace("♯", "#").replace("♭", "b")
    mode = MODE.match(text, tonic.end())
    name = MODE_NAMES[(mode[1] or mode[2]).lower()] if mode else "major"
    return _with_rest(Key(tonic[1] + accidental, name), text[mode.end() if mode else tonic.end() :])


def _with_rest(key: Key, text: str) -> Key:
    """The key with the accidentals, "exp" and properties that stand after its mode."""
    extra: dict[str, int] = {}
    kept = []
    explicit = False
    for word in text.split():
        if word[0] in "^_=":
            extra.update({step.upper(): ACCIDENTALS[sign] for sign, step in EXTRA.findall(word)})
        elif word == "exp":
            explicit = True
        else:
            kept.append(word)
    return Key(key.tonic, key.mode, tuple(extra.items()), key.pipes, " ".join(kept), explicit)


@lru_cache(maxsize=256)
def read_meter(text: str) -> Meter | None:
    """An M: value: "6/8", "C", "C|", "2+2+3/8", "(2+3)/8", "none" or nothing for free meter."""
    text = text.strip()
    if text.lower() in ("", "none", "free"):
        return Meter("none", None)
    if text in ("C", "c"):
        return Meter("C", Fraction(4))
    if text in ("C|", "c|"):
        return Meter("C|", Fraction(4), Fraction(2))
    match = re.match(r"\(?\s*([0-9]{1,4}(?:\s*\+\s*[0-9]{1,4}){0,15})\s*\)?\s*/\s*([0-9]{1,4})", text)
    if not match:
        return None
    beats = [int(number) for number in match[1].split("+")]
    below = int(match[2])
    above = sum(beats)
    if not 0 < above <= LARGEST or not 0 < below <= LARGEST:
        return None
    counted = 3 if len(beats) == 1 and above > 3 and above % 3 == 0 and below >= 4 else 1
    shown = re.sub(r"\s+", "", match[0])
    return Meter(shown, Fraction(4 * above, below), Fraction(4 * counted, below))


def read_unit(text: str) -> Fraction | None:
    """An L: value such as "1/8", in quarters."""
    match = FRACTION.match(text.strip())
    if match:
        above, below = int(match[1]), int(match[2])
        if 0 < above <= LARGEST and 0 < below <= LARGEST:
            return Fraction(4 * above, below)
    return Fraction(4) if text.strip() == "1" else None


def default_unit(meter: Meter) -> Fraction:
    """The unit length a tune without L: counts in: a sixteenth in meters below 3/4, else an eighth."""
    return Fraction(1, 4) if meter.bar is not None and meter.bar < 3 else Fraction(1, 2)


def read_tempo(text: str, unit: Fraction) -> Tempo | None:
    """A Q: value: '1/4=120', '"Allegro" 1/4=120', '1/4 3/8=40', and the old forms '120', 'C=120', 'C3=80'.

    The old forms count units of L:, `unit` quarters each.
    """
    words = " ".join(word for word in QUOTED.findall(text)).strip()
    rest = QUOTED.sub(" ", text).strip()
    if not rest:
        return Tempo(text=words) if words else None
    beats, equals, number = rest.rpartition("=")
    speed = re.match(r"\s*([0-9]{1,6}(?:\.[0-9]{1,3})?)(?![0-9./])", number)
    if not speed or not 0 < Fraction(speed[1]) <= 10 * LARGEST:
        return Tempo(text=words) if words else None
    beat = _read_beat(beats.strip(), unit) if equals else unit
    return Tempo(Fraction(speed[1]), beat, words) if beat else None


def _read_beat(text: str, unit: Fraction) -> Fraction | None:
    """Quarters in the beat of a tempo: a sum of fractions of a whole note, or the old "C" and "C3"."""
    old = re.fullmatch(r"[Cc]([0-9]{0,2})", text)
    if old:
        return unit * int(old[1] or 1) or None
    parts = FRACTION.findall(text[:200])
    if not parts or any(not 0 < int(n) <= LARGEST for part in parts for n in part):
        return None
    return sum((Fraction(4 * int(above), int(below)) for above, below in parts), Fraction(0))


def read_voice(text: str) -> Voice | None:
    """A V: value: the identifier, then properties."""
    words = text.strip().split(None, 1)
    if not words:
        return None
    return Voice(words[0], words[1].strip() if len(words) > 1 else "")


def read_program(text: str) -> int | None:
    """The General MIDI program that a directive sets: "MIDI program 73" or "MIDI program 1 73" (channel first)."""
    match = re.match(r"MIDI[\s=]+program\s+(?:[0-9]{1,2}\s+)?([0-9]{1,3})\s*$", text.strip())
    return int(match[1]) if match and int(match[1]) <= 127 else None
