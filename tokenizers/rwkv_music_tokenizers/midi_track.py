"""One track chunk of a MIDI file as events, walked once and mended where the file is sloppy.

The grammar is that of "Standard MIDI-File Format Spec. 1.1" (MMA RP-001): delta times of variable length, running
status, system exclusive and meta events. What it forbids and files hold all the same is mended where one reading is
plain; where none is, the track ends there.
"""

from dataclasses import dataclass
from functools import partial

from rwkv_music_tokenizers.errors import MidiError
from rwkv_music_tokenizers.midi_events import Kind, MidiEvent

# As much text as one event keeps.
MAX_TEXT = 4096
# Channel messages by the upper half of their status; None of those that are not kept.
_KINDS: dict[int, Kind | None] = {
    0x8: "off",
    0x9: "on",
    0xA: None,
    0xB: "control",
    0xC: "program",
    0xD: None,
    0xE: "bend",
}
# Data bytes of the system messages that have any.
_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}
_EXCLUSIVE, _META, _END = (0xF0, 0xF7), 0xFF, 0x2F
_TEXT, _NAME, _TEMPO, _METER, _KEY = 0x01, 0x03, 0x51, 0x58, 0x59
# The finest beat, as a power of two: a 64th note.
_FINEST_BEAT = 6
_BLANKS = str.maketrans("\t\n\r", "   ")

# A MidiEvent without the keywords of its constructor: three times as quick.
_event = partial(tuple.__new__, MidiEvent)


@dataclass(frozen=True)
class Walk:
    """What came of a track chunk."""

    events: tuple[MidiEvent, ...]
    # The byte behind the track's last event.
    stop: int
    # How many events were read, those not kept too.
    count: int
    # What was mended, one line each.
    repairs: tuple[str, ...]


def walk_track(content: bytes, start: int, stop: int, *, most_events: int, last_tick: int) -> Walk:
    """The events of a track chunk whose body is `content[start:stop]`, an "end" last whatever the chunk holds.

    What lies beyond `last_tick` is left out. Raises MidiError for more than `most_events`.
    """
    walker = _Walker(content[start:stop], last_tick)
    try:
        walker.walk(most_events)
    except _Cut as cut:
        walker.repairs[str(cut)] = walker.place
    except IndexError:
        walker.repairs["the track breaks off without its end"] = walker.place
    if not walker.ended:
        walker.events.append(MidiEvent(walker.tick, "end", -1))
    repairs = tuple(f"byte {start + place}: {text}" for text, place in walker.repairs.items())
    return Walk(tuple(walker.events), start + walker.place, walker.count + 1, repairs)


class _Cut(Exception):
    """The track cannot be read any further; the text says why."""


class _Walker:
    """A track being walked; `content` is the body of its chunk."""

    def __init__(self, content: bytes, last_tick: int):
        self.content = content
        self.last_tick = last_tick
        self.events: list[MidiEvent] = []
        # Text -> the first byte it is about.
        self.repairs: dict[str, int] = {}
        self.ended = False
        # Where the last event that was read ends, and its tick.
        self.place = self.tick = self.count = 0

    def walk(self, most_events: int) -> None:
        """Read events up to the end of the track, or raise what stops it: _Cut, IndexError or MidiError."""
        content, last_tick, keep = self.content, self.last_tick, self.events.append
        kind: Kind | None = None
        place = status = channel = tick = 0
        for self.count in range(most_events):
            self.place, self.tick = place, tick
            tick, place = tick + content[place], place + 1
            if content[place - 1] > 127:
                delta, place = _varying(content, place - 1)
                tick = self.tick + delta
            if tick > last_tick:
                raise _Cut(f"the piece is left out from tick {last_tick} on; it is longer than any that is read")
            first = content[place]
            if first >= 0xF0:
                place = self._other(content, place, tick)
                if self.ended:
                    return
                continue
            if first > 127:
                status, kind, channel = first, _KINDS[first >> 4], first & 15
                place += 1
                first = content[place]
            elif not status:
                raise _Cut("the track ends at data without a status")
            second, place = (0, place + 1) if 0xC0 <= status < 0xE0 else (content[place + 1], place + 2)
            if first > 127 or second > 127:
                self._mend("a data byte above 127 is taken for 127")
                first, second = min(first, 127), min(second, 127)
            if kind == "bend":
                keep(_event((tick, kind, channel, (second << 7 | first) - 8192, 0, "")))
            elif kind:
                keep(_event((tick, kind if second or kind != "on" else "off", channel, first, second, "")))
        raise MidiError("more events than a file may have; split the piece")

    def _other(self, content: bytes, place: int, tick: int) -> int:
        """Read what is no channel message, its status at `place`. Returns the place behind it."""
        status = content[place]
        place += 1
        if status != _META and status not in _EXCLUSIVE:
            self._mend(f"status {status:#x}, which has no place in a file, is left out")
            return place + _SYSTEM_LENGTHS.get(status, 0)
        sort = content[place]
        length, place = _varying(content, place + 1 if status == _META else place)
        stop = place + length
        if stop > len(content):
            raise _Cut("the track ends at an event longer than what is left of it")
        if status == _META and sort == _END:
            self.events.append(MidiEvent(tick, "end", -1))
            self.place, self.tick, self.ended = stop, tick, True
        elif status == _META:
            event = self._meta(tick, sort, content[place:stop])
            if event:
                self.events.append(event)
        return stop

    def _meta(self, tick: int, sort: int, body: bytes) -> MidiEvent | None:
        """A meta event; None of one that is not kept."""
        if sort == _NAME:
            return MidiEvent(tick, "name", -1, text=_text(body))
        if sort == _TEXT:
            return MidiEvent(tick, "text", -1, text=_text(body))
        if sort == _TEMPO:
            microseconds = int.from_bytes(body[:3], "big") if len(body) >= 3 else 0
            return self._change(MidiEvent(tick, "tempo", -1, microseconds), microseconds > 0)
        if sort == _METER:
            beats, power = body[:2] if len(body) >= 2 else (0, 0)
            possible = beats > 0 and power <= _FINEST_BEAT
            return self._change(MidiEvent(tick, "meter", -1, beats, 1 << min(power, _FINEST_BEAT)), possible)
        if sort == _KEY:
            fifths, minor = body[:2] if len(body) >= 2 else (8, 0)
            fifths = fifths - 256 if fifths > 127 else fifths
            return self._change(MidiEvent(tick, "key", -1, fifths, minor), -7 <= fifths <= 7 and minor < 2)
        return None

    def _change(self, event: MidiEvent, possible: bool) -> MidiEvent | None:
        if possible:
            return event
        self._mend(f"a {event.kind} that there is not is left out")
        return None

    def _mend(self, text: str) -> None:
        self.repairs.setdefault(text, self.place)


def _varying(content: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, 28 bits at most, and the place behind it."""
    number = 0
    for byte in range(place, place + 4):
        number = number << 7 | content[byte] & 127
        if content[byte] < 128:
            return number, byte + 1
    raise _Cut("the track ends at a number of more than four bytes")


def _text(body: bytes) -> str:
    """UTF-8, or Latin-1 as old files use; without control characters."""
    try:
        text = body[:MAX_TEXT].decode("utf-8")
    except UnicodeDecodeError:
        text = body[:MAX_TEXT].decode("latin-1")
    if not text.isprintable():
        text = "".join(letter for letter in text.translate(_BLANKS) if letter.isprintable())
    return text.strip()
