"""Instruments by the names that musicians give them, and the General MIDI programs that play them."""

from functools import cache

from rwkv_music.errors import UserError

# Ensembles, and the programs of their parts.
ENSEMBLES = {
    "piano": (0,),
    "strings": (40, 40, 41, 42),
    "song": (53, 0),
    "tune": (73,),
}
# What people say, and what General MIDI calls it.
SPOKEN = {
    "piano": "acoustic grand piano",
    "guitar": "acoustic guitar (nylon)",
    "bass": "acoustic bass",
    "voice": "voice oohs",
    "choir": "choir aahs",
    "organ": "church organ",
    "harp": "orchestral harp",
    "sax": "alto sax",
    "horn": "french horn",
    "strings": "string ensemble 1",
    "synth": "lead 1 (square)",
    "whistle": "whistle",
    "double bass": "contrabass",
}
DRUMS = "drums"
MOST_PARTS = 15


@cache
def programs() -> dict[str, int]:
    """Program by General MIDI name, in lower case."""
    from pretty_midi.constants import INSTRUMENT_MAP

    return {name.lower(): number for number, name in enumerate(INSTRUMENT_MAP)}


def read_instruments(text: str) -> tuple[str, tuple[int | None, ...]]:
    """The ensemble that a list of names says ("" for none), and a program for each part, None for drums.

    "strings" alone is the quartet, "violin,cello,piano" are three parts. Raises UserError for a name that is none.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if len(names) == 1 and names[0] in ENSEMBLES:
        return names[0], ENSEMBLES[names[0]]
    if not 0 < len(names) <= MOST_PARTS:
        raise UserError(f"--instruments names 1 to {MOST_PARTS} instruments, with commas between them")
    return "", tuple(None if name == DRUMS else program_of(name) for name in names)


def program_of(name: str) -> int:
    """The program of one instrument: a number 0..127, a name, or the beginning of one. Raises UserError."""
    known = programs()
    name = SPOKEN.get(name, name)
    if name.isdecimal() and int(name) < 128:
        return int(name)
    if name in known:
        return known[name]
    found = [full for full in known if full.startswith(name)] or [full for full in known if name in full]
    if not name or not found:
        raise UserError(f"--instruments: {name!r} is no instrument of General MIDI (violin, flute, drums, 0..127, ...)")
    return known[found[0]]
