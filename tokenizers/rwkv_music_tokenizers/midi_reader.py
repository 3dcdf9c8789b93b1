"""MIDI files as events and as what is played: any type, any division, mended where sloppy, refused where hostile."""

from collections.abc import Iterator

from rwkv_music_tokenizers.errors import MidiError
from rwkv_music_tokenizers.midi_events import MidiEvent, MidiStream
from rwkv_music_tokenizers.midi_notes import performed
from rwkv_music_tokenizers.midi_track import Walk, walk_track
from rwkv_music_tokenizers.performance import DEFAULT_TEMPO, MAX_TICK, Performance

MAX_BYTES = 8 << 20
MAX_TRACKS = 1024
MAX_EVENTS = 500_000
# The longest piece; as long as `midi_writer` writes them.
MAX_QUARTERS = 200_000
# Repairs that are told one by one.
MAX_REPAIRS = 100
# How far into a file its header may stand: some were stored with the header of another system in front.
_SEARCHED = 1024
_HEADER, _TRACK = b"MThd", b"MTrk"


def read_midi(content: bytes) -> Performance:
    """A MIDI file as it is played: see `midi_notes.performed`. Raises MidiError like `read_events`."""
    return performed(read_events(content))


def read_events(content: bytes) -> MidiStream:
    """The events of a standard MIDI file, also of one wrapped in RIFF (RMID).

    A file timed in frames of film becomes one whose quarter lasts half a second. Raises MidiError for what is no MIDI
    file, holds no track, or exceeds MAX_BYTES, MAX_TRACKS or MAX_EVENTS; what lies beyond MAX_QUARTERS or MAX_TICK
    is left out.
    """
    if len(content) > MAX_BYTES:
        raise MidiError(f"a MIDI file of {len(content):,} bytes; at most {MAX_BYTES:,} are read")
    repairs: list[str] = []
    content, header = _unwrapped(content, repairs)
    kind, division, place = _header(content, header, repairs)
    told = int.from_bytes(content[header + 10 : header + 12], "big")
    ticks, scale, tempo = _time(division, header)
    walks = list(_walks(content, place, min(MAX_QUARTERS * ticks, MAX_TICK) // scale, repairs))
    if not walks:
        raise MidiError("no track follows the header; nothing can be read", place)
    if told != len(walks):
        repairs.append(f"byte {header + 10}: the header tells {told} tracks, there are {len(walks)}")
    if kind == 0 and len(walks) > 1:
        repairs.append(f"byte {header + 8}: a file of type 0 with {len(walks)} tracks is read as type 1")
        kind = 1
    tracks = tuple(walk.events for walk in walks)
    if tempo:
        tracks = tuple(_untimed(track, scale) for track in tracks)
        tracks = ((MidiEvent(0, "tempo", -1, tempo), *tracks[0]), *tracks[1:])
    if len(repairs) > MAX_REPAIRS:
        repairs[MAX_REPAIRS:] = [f"and {len(repairs) - MAX_REPAIRS} more repairs"]
    return MidiStream(kind, ticks, tracks, tuple(repairs))


def _unwrapped(content: bytes, repairs: list[str]) -> tuple[bytes, int]:
    """The file without what follows it in its RIFF wrapping, and where its header begins."""
    if content[:4] == b"RIFF" and content[8:12] == b"RMID":
        place = 12
        while place + 8 <= len(content):
            length = int.from_bytes(content[place + 4 : place + 8], "little")
            if content[place : place + 4] == b"data" and content[place + 8 : place + 12] == _HEADER:
                return content[: place + 8 + length], place + 8
            place += 8 + length + length % 2
    header = content.find(_HEADER, 0, _SEARCHED)
    if header < 0:
        raise MidiError("this is no MIDI file: it does not begin with MThd", 0)
    if header:
        repairs.append(f"byte 0: {header} bytes before the header are left out")
    return content, header


def _header(content: bytes, header: int, repairs: list[str]) -> tuple[int, int, int]:
    """Type and division of a file, and the place behind its header."""
    if header + 14 > len(content):
        raise MidiError("the file ends within its header; get it anew", header)
    length = int.from_bytes(content[header + 4 : header + 8], "big")
    place = header + 8 + length
    if length < 6 or place > len(content):
        place = header + 14
        repairs.append(f"byte {header + 4}: a header of {length} bytes is taken for one of 6")
    kind = int.from_bytes(content[header + 8 : header + 10], "big")
    if kind > 2:
        repairs.append(f"byte {header + 8}: type {kind}, which there is not, is read as type 1")
        kind = 1
    return kind, int.from_bytes(content[header + 12 : header + 14], "big"), place


def _time(division: int, header: int) -> tuple[int, int, int]:
    """(ticks of a quarter, by what the file's own ticks are multiplied, tempo) of a division.

    The tempo is 0 where the file tells its own; one in frames of film has that of half a second a quarter.
    """
    if not division & 0x8000:
        if not division:
            raise MidiError("a quarter note of 0 ticks; there is no time in this file", header + 12)
        return division, 1, 0
    frames, parts = 256 - (division >> 8), division & 255
    if frames not in (24, 25, 29, 30) or not parts:
        raise MidiError(f"{frames} frames a second of {parts} ticks; MIDI knows 24, 25, 29 and 30", header + 12)
    # What is called 29 are 30 frames in 1.001 seconds.
    tempo = DEFAULT_TEMPO if frames != 29 else DEFAULT_TEMPO * 1001 // 1000
    second = (30 if frames == 29 else frames) * parts
    return (second, 2, tempo) if second % 2 else (second // 2, 1, tempo)


def _untimed(track: tuple[MidiEvent, ...], scale: int) -> tuple[MidiEvent, ...]:
    return tuple(event._replace(tick=event.tick * scale) for event in track if event.kind != "tempo")


def _walks(content: bytes, place: int, last_tick: int, repairs: list[str]) -> Iterator[Walk]:
    """Each track of the file. Chunks of other kinds are passed over, as the specification demands."""
    left, number = MAX_EVENTS, 0
    while place + 8 <= len(content):
        start = place + 8
        stop = start + int.from_bytes(content[place + 4 : start], "big")
        is_track = content[place : place + 4] == _TRACK
        if stop > len(content) or not _is_chunk(content, stop):
            following = content.find(_TRACK, start)
            found = following if following >= 0 else len(content)
            if is_track and stop != found:
                repairs.append(f"byte {place + 4}: a chunk of the wrong length is taken to end at byte {found}")
            stop = found
        place = stop
        if is_track:
            number += 1
            if number > MAX_TRACKS:
                raise MidiError(f"more than {MAX_TRACKS} tracks; split the piece", start)
            walk = walk_track(content, start, stop, most_events=left, last_tick=last_tick)
            left -= walk.count
            repairs += [f"track {number}, {text}" for text in walk.repairs]
            # A length that runs over the next track.
            swallowed = content.find(_TRACK, walk.stop, stop)
            place = swallowed if swallowed >= 0 else stop
            if place > walk.stop and walk.events[-1].kind == "end" and not walk.repairs:
                repairs.append(
                    f"byte {walk.stop}: {place - walk.stop} bytes behind the end of track {number} are left out"
                )
            yield walk


def _is_chunk(content: bytes, place: int) -> bool:
    """The end of the file, or four letters such as begin a chunk."""
    name = content[place : place + 4]
    return not name or (len(name) == 4 and name.isascii() and name.decode("ascii").isprintable())
