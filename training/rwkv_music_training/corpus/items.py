"""A file of music on its way into a corpus, what an index says of it, and why it may be left out."""

from dataclasses import dataclass, replace

MIDI, ABC, MUSICXML = "midi", "abc", "musicxml"
FORMS = {
    **dict.fromkeys((".mid", ".midi", ".kar"), MIDI),
    ".abc": ABC,
    **dict.fromkeys((".musicxml", ".xml", ".mxl"), MUSICXML),
}

# Why a file is left out; the order is that of the way a file takes.
OTHER_KIND = "another kind of file"
NOT_THERE = "not there"
NOT_IN_INDEX = "not in the index"
OTHER_TIER = "licence of another tier"
TOO_LARGE = "too large"
BROKEN_ARCHIVE = "broken archive"
NOT_READABLE = "not readable"
TOOK_TOO_LONG = "took too long"
BROKE_THE_PARSER = "broke the parser"
NOT_IN_CODE = "nothing the code can say"
SEVERAL_PARTS = "several parts, and ABC takes one"
TOO_SHORT = "too short"
TOO_LONG = "too long"
TOO_DENSE = "too many notes a second"
TOO_THIN = "too few notes a second"
SILENT = "too long a silence"
WRONG_BARS = "bars that do not add up"
SAME_BYTES = "same bytes as another"
SAME_NOTES = "same notes as another"
SAME_SHAPE = "same but for key and tempo"
NEAR_ANOTHER = "nearly the same as another"
NEAR_HELD_OUT = "nearly the same as one held out"
REASONS = (
    *(OTHER_KIND, NOT_THERE, NOT_IN_INDEX, OTHER_TIER, TOO_LARGE, BROKEN_ARCHIVE, NOT_READABLE, TOOK_TOO_LONG),
    *(BROKE_THE_PARSER, NOT_IN_CODE, SEVERAL_PARTS, TOO_SHORT, TOO_LONG, TOO_DENSE, TOO_THIN, SILENT, WRONG_BARS),
    *(SAME_BYTES, SAME_NOTES, SAME_SHAPE, NEAR_ANOTHER, NEAR_HELD_OUT),
)

# Where an item stands: number of its unit, and its place in it. No two items share one.
Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Told:
    """What an index, or the line of a collection, says of a piece; "" for what is not told."""

    source: str = ""
    tier: str = ""
    licence: str = ""
    split: str = ""
    group: str = ""
    title: str = ""
    composer: str = ""


NOTHING_TOLD = Told()
TOLD = tuple(Told.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Item:
    """One piece as it was found."""

    key: Key
    # Where it was found, for people: `folder/archive.zip/piece.mid`.
    name: str
    # MIDI, ABC or MUSICXML.
    form: str
    content: bytes
    told: Told = NOTHING_TOLD

    def left_out(self, reason: str, detail: str = "") -> "LeftOut":
        """This item as one that does not come into the corpus."""
        return LeftOut(self.key, self.name, self.told.source, reason, detail)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that does not come into the corpus, and why."""

    key: Key
    name: str
    source: str
    # One of REASONS.
    reason: str
    # What exactly, in words for people; may be empty.
    detail: str = ""


def told_from(row: dict[str, object], source: str) -> Told:
    """What a row says, as far as it says it in words; `source` is the source of one that names none."""
    words = {name: value for name in TOLD if isinstance(value := row.get(name), str)}
    told = Told(**words)
    return told if told.source else replace(told, source=source)


def printable(name: str) -> str:
    """A name that can be written down: bytes that are no characters become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
