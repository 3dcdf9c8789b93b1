"""From the events of a MIDI file to what is played: keys pressed and released become notes, switches become pedals.

A track of the file becomes one `Track` for each channel and program that it plays notes on.
"""

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

from rwkv_music_tokenizers.midi_events import Kind, MidiEvent, MidiStream
from rwkv_music_tokenizers.performance import DEFAULT_METER, DEFAULT_TEMPO, MAX_TICK, Performance, Track, rows

DRUM_CHANNEL = 9
SUSTAIN = 64
PEDAL_DOWN = 64
# All sound off, all notes off, and the four mode messages that switch notes off too.
NOTES_OFF = frozenset({120, 123, 124, 125, 126, 127})
RESET_CONTROLLERS = 121

# start, end, pitch, velocity.
_Note = tuple[int, int, int, int]


def performed(stream: MidiStream) -> Performance:
    """The piece as it is played.

    A key struck again while it is held is held twice: releases go to the strokes in their order. Notes never released
    end with their track, notes without length are left out; both are told. Programs, tempos, meters and keys of any
    track hold for all, but a track that chooses a channel's programs itself keeps to them. The patterns of a file of
    type 2 follow each other.
    """
    tracks = _in_sequence(stream.tracks) if stream.type == 2 else stream.tracks
    players = [_Player(events) for events in tracks]
    chosen = _merged(player.programs for player in players)
    # Pedals that a track without notes works for those that have them.
    controllers = _merged(
        {channel: switches for channel, switches in player.switches.items() if channel not in player.notes}
        for player in players
    )
    played: list[Track] = []
    for player in players:
        played += player.tracks(chosen, controllers, "" if len(tracks) == 1 else player.name)
    repairs = list(stream.repairs)
    for text in ("never released, ended with the track", "without length, left out"):
        if count := sum(player.mended[text] for player in players):
            repairs.append(f"{count} note{'s' if count > 1 else ''} {text}")
    title = players[0].name if players and (len(players) == 1 or not players[0].notes) else ""
    return Performance(
        tuple(played),
        stream.ticks,
        rows(_map(tracks, "tempo", (DEFAULT_TEMPO,)), 2),
        rows(_map(tracks, "meter", DEFAULT_METER), 3),
        rows(_map(tracks, "key", None), 3),
        title,
        tuple(repairs),
    )


def _in_sequence(patterns: Sequence[Sequence[MidiEvent]]) -> list[list[MidiEvent]]:
    """Each pattern moved behind the one before; what would then lie beyond the last tick is left out."""
    moved: list[list[MidiEvent]] = []
    begin = 0
    for pattern in patterns:
        later = [event._replace(tick=event.tick + begin) for event in pattern]
        moved.append([event for event in later if event.tick <= MAX_TICK])
        begin += pattern[-1].tick
    return moved


class _Player:
    """What a track of the file does on each channel."""

    def __init__(self, events: Sequence[MidiEvent]):
        self.name = ""
        # Channel -> notes in the order of their release, each with the place of its stroke among the track's events.
        self.notes: dict[int, list[tuple[int, _Note]]] = defaultdict(list)
        # Channel -> (tick, place, program), and (tick, place, 1 for down).
        self.programs: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.switches: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.mended: dict[str, int] = defaultdict(int)
        # (channel << 7 | pitch) -> strokes not released: start, velocity, place.
        self._held: dict[int, deque[tuple[int, int, int]]] = {}
        self.end = events[-1].tick if events else 0
        self._follow(events)
        for key in list(self._held):
            self.mended["never released, ended with the track"] += len(self._held[key])
            self._release_all(key, self.end)

    def _follow(self, events: Sequence[MidiEvent]) -> None:
        held = self._held
        for place, (tick, kind, channel, first, second, text) in enumerate(events):
            if kind == "on":
                held.setdefault(channel << 7 | first, deque()).append((tick, second, place))
            elif kind == "off":
                strokes = held.get(channel << 7 | first)
                if strokes:
                    self._release(channel << 7 | first, strokes.popleft(), tick)
            elif kind == "program":
                self.programs[channel].append((tick, place, first))
            elif kind == "control":
                self._control(tick, place, channel, first, second)
            elif kind == "name" and not self.name:
                self.name = text

    def _control(self, tick: int, place: int, channel: int, number: int, value: int) -> None:
        if number == SUSTAIN:
            self.switches[channel].append((tick, place, int(value >= PEDAL_DOWN)))
        elif number == RESET_CONTROLLERS and channel in self.switches:
            self.switches[channel].append((tick, place, 0))
        elif number in NOTES_OFF:
            for key in [key for key, strokes in self._held.items() if key >> 7 == channel and strokes]:
                self._release_all(key, tick)

    def _release_all(self, key: int, tick: int) -> None:
        strokes = self._held.pop(key)
        for stroke in strokes:
            self._release(key, stroke, tick)

    def _release(self, key: int, stroke: tuple[int, int, int], tick: int) -> None:
        start, velocity, place = stroke
        if tick > start:
            self.notes[key >> 7].append((place, (start, tick, key & 127, velocity)))
        else:
            self.mended["without length, left out"] += 1

    def tracks(
        self,
        chosen: dict[int, list[tuple[int, int, int]]],
        controllers: dict[int, list[tuple[int, int, int]]],
        name: str,
    ) -> list[Track]:
        """A track for each channel and program, in the order of the channels, then of the programs' first notes."""
        found: list[Track] = []
        for channel in sorted(self.notes):
            own = self.programs.get(channel)
            programs = own or [(tick, -1, program) for tick, _, program in chosen.get(channel, [])]
            pedals = rows(_pedals(self.switches.get(channel) or controllers.get(channel, []), self.end), 2)
            for program, notes in _by_program(sorted(self.notes[channel]), programs, chosen.get(channel, [])).items():
                notes.sort(key=lambda note: (note[0], note[2], note[1]))
                found.append(Track(rows(notes, 4), program, channel == DRUM_CHANNEL, name, pedals))
        return found


def _by_program(
    notes: Iterable[tuple[int, _Note]],
    programs: Sequence[tuple[int, int, int]],
    chosen: Sequence[tuple[int, int, int]],
) -> dict[int, list[_Note]]:
    """Notes by the program in force when they were struck; one of `chosen` before the first of `programs`."""
    found: dict[int, list[_Note]] = defaultdict(list)
    for place, note in notes:
        number = bisect_right(programs, (note[0], place, 0))
        if number:
            found[programs[number - 1][2]].append(note)
        else:
            number = bisect_right(chosen, (note[0], 1 << 62, 0))
            found[chosen[number - 1][2] if number else 0].append(note)
    return found


def _merged(
    changes: Iterable[dict[int, list[tuple[int, int, int]]]],
) -> dict[int, list[tuple[int, int, int]]]:
    """What all tracks change on each channel, in the order of time."""
    merged: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for channels in changes:
        for channel, found in channels.items():
            merged[channel] += found
    for found in merged.values():
        found.sort(key=lambda change: change[0])
    return merged


def _pedals(switches: Sequence[tuple[int, int, int]], end: int) -> list[tuple[int, int]]:
    """When the pedal is down. Pressed again in the tick in which it came up, it came up a tick earlier."""
    found: list[tuple[int, int]] = []
    down = -1
    for tick, _, pressed in (*switches, (max(end, switches[-1][0]) if switches else 0, 0, 0)):
        if pressed and down < 0:
            down = tick
            if found and found[-1][1] == tick:
                start, _ = found.pop()
                if tick - 1 > start:
                    found.append((start, tick - 1))
                else:
                    down = start
        elif not pressed and down >= 0:
            if tick > down:
                found.append((down, tick))
            down = -1
    return found


def _map(tracks: Sequence[Sequence[MidiEvent]], kind: Kind, default: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """(tick, value, ...) of every change of a kind, one at tick 0 where there is a default.

    At one tick the first track that has any counts, and in it the last; what changes nothing is left out.
    """
    latest: dict[int, tuple[int, ...]] = {} if default is None else {0: default}
    for events in reversed(tracks):
        for event in events:
            if event.kind == kind:
                latest[event.tick] = (event.first,) if kind == "tempo" else (event.first, event.second)
    found: list[tuple[int, ...]] = []
    for tick, value in sorted(latest.items()):
        if not found or found[-1][1:] != value:
            found.append((tick, *value))
    return found
