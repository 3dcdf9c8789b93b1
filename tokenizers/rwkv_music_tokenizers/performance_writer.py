"""Performances as MIDI files of type 1: a track with title, tempos, meters and keys, then a track an instrument."""

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence

import mido

from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_writer import CHANNELS, MAJOR_KEYS, MINOR_KEYS, PERCUSSION
from rwkv_music_tokenizers.performance import MAX_TICK, Performance, Track

# As much as can be written in a few seconds, and read again.
MAX_NOTES = 200_000
# Ticks of a quarter that a header can say.
MAX_TICKS = 0x7FFF
SUSTAIN, DOWN, UP = 64, 127, 0

# What comes first at the same tick: names and changes, pedals, releases, then instruments, then keys pressed.
_META, _PEDAL, _OFF, _PROGRAM, _ON = range(5)
# (tick, order at that tick, message).
_Entry = tuple[int, int, mido.Message | mido.MetaMessage]


def write_performance(performance: Performance, remarks: Sequence[str] = ()) -> bytes:
    """The performance as a standard MIDI file that `midi_reader.read_midi` reads back as it is.

    Each track has a channel of its own, drums channel 10; with more than 15 other tracks those of one program share a
    channel, with more than 15 programs several do, and change it as they play. On one channel a key is released
    before it is struck again, and of two strokes at the same tick the longer stands. `remarks` are kept as text
    events. Raises NotationError for a piece that is too long or has ticks that MIDI cannot say.
    """
    if performance.count > MAX_NOTES:
        raise NotationError(f"the piece has {performance.count:,} notes; at most {MAX_NOTES:,} are written")
    if performance.end > MAX_TICK or not 0 < performance.ticks <= MAX_TICKS:
        raise NotationError(f"a MIDI file holds {MAX_TICK:,} ticks, and {MAX_TICKS:,} of a quarter; shorten the piece")
    file = mido.MidiFile(type=1, ticks_per_beat=performance.ticks, charset="utf-8")
    file.tracks.append(_track(_conducting(performance, remarks)))
    channels = _channels(performance.tracks)
    strokes = _strokes(performance.tracks, channels)
    programs = _programs(performance.tracks, channels)
    for number, track in enumerate(performance.tracks):
        head = _META, mido.MetaMessage("track_name", name=_text(track.name))
        entries = [(0, *head), *programs[number], *_pedals(track, channels[number]), *strokes[number]]
        file.tracks.append(_track(entries))
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def _conducting(performance: Performance, remarks: Sequence[str]) -> list[_Entry]:
    entries: list[_Entry] = [(0, _META, mido.MetaMessage("track_name", name=_text(performance.title)))]
    entries += [(0, _META, mido.MetaMessage("text", text=_text(remark))) for remark in remarks]
    for tick, microseconds in performance.tempos.tolist():
        entries.append((tick, _META, mido.MetaMessage("set_tempo", tempo=microseconds)))
    for tick, beats, note in performance.meters.tolist():
        entries.append((tick, _META, mido.MetaMessage("time_signature", numerator=beats, denominator=note)))
    for tick, fifths, minor in performance.keys.tolist():
        name = MINOR_KEYS[fifths + 7] + "m" if minor else MAJOR_KEYS[fifths + 7]
        entries.append((tick, _META, mido.MetaMessage("key_signature", key=name)))
    return entries


def _channels(tracks: Sequence[Track]) -> list[int]:
    """The channel of each track."""
    pitched = [number for number, track in enumerate(tracks) if not track.drums]
    if len(pitched) <= len(CHANNELS):
        places = {number: place for place, number in enumerate(pitched)}
    else:
        programs = list(dict.fromkeys(tracks[number].program for number in pitched))
        places = {number: programs.index(tracks[number].program) for number in pitched}
    return [PERCUSSION if track.drums else CHANNELS[places[n] % len(CHANNELS)] for n, track in enumerate(tracks)]


def _strokes(tracks: Sequence[Track], channels: Sequence[int]) -> dict[int, list[_Entry]]:
    """Keys pressed and released, by the number of the track."""
    pressed: dict[tuple[int, int], list[tuple[int, int, int, int]]] = defaultdict(list)
    for number, track in enumerate(tracks):
        for start, end, pitch, velocity in track.notes.tolist():
            pressed[channels[number], pitch].append((start, end, number, velocity))
    entries: dict[int, list[_Entry]] = defaultdict(list)
    for (channel, pitch), strokes in pressed.items():
        longest = {stroke[0]: stroke for stroke in sorted(strokes)}
        kept = list(longest.values())
        for (start, end, number, velocity), following in zip(kept, [*kept[1:], None], strict=True):
            end = end if following is None else min(end, following[0])
            press = mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)
            release = mido.Message("note_off", channel=channel, note=pitch, velocity=0)
            entries[number] += [(start, _ON, press), (end, _OFF, release)]
    return entries


def _programs(tracks: Sequence[Track], channels: Sequence[int]) -> dict[int, list[_Entry]]:
    """What chooses the instruments, by the number of the track: at its beginning, and where its channel has another."""
    entries: dict[int, list[_Entry]] = defaultdict(list)
    players: dict[int, list[int]] = defaultdict(list)
    for number in range(len(tracks)):
        players[channels[number]].append(number)
    for channel, numbers in players.items():
        if len({tracks[number].program for number in numbers}) == 1:
            for number in numbers:
                entries[number].append((0, _PROGRAM, _program(channel, tracks[number])))
            continue
        chosen = -1
        for start, number in sorted((start, n) for n in numbers for start in tracks[n].notes[:, 0].tolist()):
            # Each track chooses at least once, so that it can be told from the others.
            if tracks[number].program != chosen or number not in entries:
                chosen = tracks[number].program
                entries[number].append((start, _PROGRAM, _program(channel, tracks[number])))
    return entries


def _program(channel: int, track: Track) -> mido.Message:
    return mido.Message("program_change", channel=channel, program=track.program)


def _pedals(track: Track, channel: int) -> Iterable[_Entry]:
    for down, up in track.pedals.tolist():
        yield down, _PEDAL, mido.Message("control_change", channel=channel, control=SUSTAIN, value=DOWN)
        yield up, _PEDAL, mido.Message("control_change", channel=channel, control=SUSTAIN, value=UP)


def _track(entries: Iterable[_Entry]) -> mido.MidiTrack:
    track = mido.MidiTrack()
    now = 0
    for tick, _, message in sorted(entries, key=lambda entry: entry[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=0))
    return track


def _text(text: str) -> str:
    """Text that can be written as UTF-8, whatever half characters a broken source left in it."""
    return text.encode("utf-8", "replace").decode("utf-8")
