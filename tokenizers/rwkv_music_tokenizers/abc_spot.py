"""Where a text of ABC stands between two characters, as far as it decides what may follow."""

from typing import Any, NamedTuple

from rwkv_music_tokenizers.abc_room import Room, changed

# A note as it is written: 7 * octave + step from C, and its accidental ("" for none).
Sign = tuple[int, str]
# Slurs inside slurs.
MOST_SLURS = 2
# The note before, where it does not matter which it was; no note has that number.
SOME_NOTE: tuple[Sign, ...] = ((-1, ""),)
# The text of a header's line that nothing but its end may follow.
CUT = "%"
UNREPEATED, WITH_ENDINGS, PLAINLY = range(3)
# What waits for an event.
NOTHING, SOUND, NOTE, CLOSE_NOTE, CLOSE_TONE = range(5)
# What signs do to the length of the event they wait for: a rolled note of three units, and any that is stopped, become
# several in some programs, so that it cannot be bent, a stopped one not be tied either.
LASTING, ROLLED, STOPPED = range(3)


class Head(NamedTuple):
    """A spot in the header."""

    # The line so far.
    text: str = ""
    # Letters of the fields before it, and what the three that matter said.
    seen: str = ""
    meter: str = ""
    unit: str = ""
    # Control codes: sections, the one being told, and E: lines before its B: line; sections 0 when all are told.
    codes: tuple[int, int, int] | None = None


class Spot(NamedTuple):
    """A spot in the music. What it says beside its room stands in the bar, or waits for an event to come."""

    room: Room
    # The word being written: "" for none, "note", "rest", "bar", "quote" ..., and as much of it as matters; in a word
    # that a prompt left open ("shut") what has to close it, "" for the end of the line.
    mode: str = ""
    text: str = ""
    # Some event stands in the bar; the bar opens a section.
    sounds: bool = False
    opens: bool = True
    # The bar line that this bar follows while nothing but space stands after it ("start": the music begins).
    line: str = "start"
    # Nothing but space stands in the line of text; a space was written last.
    blank: bool = True
    spaced: bool = False
    # What must come: NOTHING, a SOUND (note, chord or rest), a NOTE (or chord), one without a space, or no chord.
    owed: int = NOTHING
    # Signs that wait for the event, and whether a chord symbol is one of them.
    marks: int = 0
    named: bool = False
    length: int = LASTING
    # "|:" waits for ":|"; how the last repeat since a "|:" ended: UNREPEATED, WITH_ENDINGS, or PLAINLY.
    repeat: bool = False
    repeated: int = 0
    # The ending being written; -1 where the second has to begin.
    ending: int = 0
    # A bar has ended in this section.
    bars: bool = False
    # Steps of the upbeat that the end of the section may make up for.
    upbeat: int = 0
    slurs: int = 0
    # An event was written last: it can be tied, bent, or end a slur.
    fresh: bool = False
    tones: tuple[Sign, ...] = ()
    # What is tied into the next event, and from within the chord being written.
    tied: tuple[Sign, ...] = ()
    # The event written last was tied to the one before it.
    joined: bool = False
    holding: tuple[Sign, ...] = ()
    note: Sign = (0, "")
    # The notes of the chord being written, and the length of its first.
    chord: tuple[Sign, ...] | None = None
    inner: str | None = None
    # A chord symbol stands in the tune; what a program plays to it still sounds at the bar line that was written last.
    symbols: bool = False
    hangs: bool = False
    # Grace notes so far; -1 outside of them.
    graces: int = -1
    # Fields that this bar began with.
    fields: str = ""
    # What the key and the bar alter, a step each; () where no limit asks for it.
    signature: tuple[int, ...] = ()
    altered: tuple[int | None, ...] = ()

    def but(self, **changes: Any) -> "Spot":
        """The same spot but for some fields: `_replace`, three times as fast."""
        return changed(self, changes)


class Ended(NamedTuple):
    """The end token was taken."""


Place = Head | Spot | Ended
# The spots that may follow, by the character that leads to them.
Options = dict[str, Spot]
