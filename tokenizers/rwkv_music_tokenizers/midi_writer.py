"""Scores as MIDI files: a track with tempo, meter and key, a track a voice, and an accompaniment from chord symbols."""

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import mido

from rwkv_music_tokenizers.accompaniment import accompany
from rwkv_music_tokenizers.clefs import properties
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.measures import measures
from rwkv_music_tokenizers.playing import Sound, play
from rwkv_music_tokenizers.score import Event, Meter, Part, Score, Tempo
from rwkv_music_tokenizers.tempos import quarters_a_minute, starting_tempo
from rwkv_music_tokenizers.timeline import bar_onsets, timeline
from rwkv_music_tokenizers.unfold import first_staffs, performed_notes, unfold

TICKS = 480
# The longest piece: a delta time of MIDI holds 28 bits of ticks.
MAX_QUARTERS = 200_000
PERCUSSION = 9
CHANNELS = tuple(channel for channel in range(16) if channel != PERCUSSION)
# Microseconds a quarter that MIDI can say, and 1000 quarters a minute.
SLOWEST, FASTEST = 0xFFFFFF, 60_000

MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
MINOR_KEYS = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")
MINOR_MODES = ("minor", "aeolian", "dorian", "phrygian", "locrian")
METER_NAMES = {"C": (4, 4), "C|": (2, 2)}
_METER = re.compile(r"\(?(\d{1,3}(?:\+\d{1,3})*)\)?/(\d{1,3})")
_CHORD_PROGRAM = re.compile(r"MIDI\s+(chord|bass)prog\s+(\d+)")

# What comes first at the same tick: names and changes, instruments, releases, then keys pressed.
_META, _PROGRAM, _OFF, _ON = range(4)


@dataclass(frozen=True)
class MidiOptions:
    """How a score is played."""

    # Quarters a minute from beginning to end; None: what the piece says.
    tempo: Fraction | None = None
    # Loudness before any dynamic mark, 1..127.
    velocity: int = 80
    # Play the first beat, and the other beats, a little louder.
    accents: bool = True
    # General MIDI program, 0..127, of voices that name none: piano.
    program: int = 0
    # Programs of the accompaniment: nylon guitar and acoustic bass.
    chord_program: int = 24
    bass_program: int = 32


DEFAULTS = MidiOptions()


@dataclass(frozen=True)
class _Voice:
    """A track in the making. `messages` are (tick, order at that tick, message)."""

    name: str
    channel: int
    program: int
    sounds: Sequence[Sound]
    messages: tuple[tuple[int, int, mido.MetaMessage], ...] = ()


def write_midi(
    score: Score, *, accompaniment: bool = True, options: MidiOptions = DEFAULTS, remarks: Sequence[str] = ()
) -> bytes:
    """The score as a standard MIDI file of format 1, 480 ticks a quarter, played as `unfold` says.

    Chord symbols are played when `accompaniment` is on and the piece does not switch them off (%%MIDI gchordoff).
    `remarks` are kept as text events: how the piece was made. Without a tempo the piece goes at the custom of its
    rhythm (`tempos`). Raises NotationError when the piece is longer than MAX_QUARTERS or unfolds too far.
    """
    score = unfold(score)
    end = max((onsets[-1] for onsets in bar_onsets(score.parts)), default=Fraction(0))
    if end > MAX_QUARTERS:
        raise NotationError(f"the piece lasts {float(end):.0f} quarters; a MIDI file is limited to {MAX_QUARTERS}")
    voices = _voices(score, options)
    if accompaniment and ("%%", "MIDI gchordoff") not in score.fields:
        voices += _accompaniment(score, options)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS, charset="utf-8")
    file.tracks.append(_track(_conducting(score, options, remarks), end))
    file.tracks.extend(_track(messages, end) for messages in _played(voices))
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def _voices(score: Score, options: MidiOptions) -> list[_Voice]:
    notes = defaultdict(list)
    for note in performed_notes(score):
        notes[note.part].append(note)
    lyrics = _lyrics(score)
    staffs = first_staffs(score)
    voices: list[_Voice] = []
    for number, (part, bars) in enumerate(zip(score.parts, measures(score), strict=True)):
        # Two channels are left to the accompaniment; with more voices than channels some share one.
        channel = PERCUSSION if staffs[number].clef == "perc" else CHANNELS[number % (len(CHANNELS) - 2)]
        program = options.program if part.program is None else part.program
        sounds = play(notes[number], bars, options.velocity, options.accents)
        voices.append(_Voice(_voice_name(part), channel, program, sounds, tuple(lyrics[number])))
    return voices


def _voice_name(part: Part) -> str:
    found = properties(part.properties)
    return found.get("name") or found.get("nm") or part.name or "Melody"


def _lyrics(score: Score) -> dict[int, list[tuple[int, int, mido.MetaMessage]]]:
    """The first verse of each part as lyric events; a blank ends a word, as in the MIDI recommendation RP-026."""
    found: dict[int, list[tuple[int, int, mido.MetaMessage]]] = defaultdict(list)
    for moment in timeline(score):
        if isinstance(moment.item, Event) and moment.item.lyrics:
            syllable = moment.item.lyrics[0]
            if syllable is not None and not syllable.held:
                text = syllable.text + ("" if syllable.joined else " ")
                message = mido.MetaMessage("lyrics", text=_text(text))
                found[moment.part].append((_tick(moment.onset), _META, message))
    return found


def _accompaniment(score: Score, options: MidiOptions) -> list[_Voice]:
    played = accompany(score, measures(score))
    programs = {"chord": options.chord_program, "bass": options.bass_program}
    for letter, text in score.fields:
        directive = _CHORD_PROGRAM.match(text) if letter == "%%" else None
        if directive and int(directive[2][:4]) < 128:
            programs[directive[1]] = int(directive[2])
    bass, chords = CHANNELS[-2:]
    voices = (
        _Voice("Bass", bass, programs["bass"], played.bass),
        _Voice("Chords", chords, programs["chord"], played.chords),
    )
    return [voice for voice in voices if voice.sounds]


def _conducting(score: Score, options: MidiOptions, remarks: Sequence[str]) -> list[tuple[int, int, mido.MetaMessage]]:
    """Title, remarks, and every change of tempo, meter and key."""
    found = [(0, _META, mido.MetaMessage("track_name", name=_text(score.title)))]
    found += [(0, _META, mido.MetaMessage("text", text=_text(remark))) for remark in remarks]
    start = starting_tempo(score) if options.tempo is None else options.tempo
    changes: list[tuple[Fraction, mido.MetaMessage | None]] = [
        (Fraction(0), _tempo_message(start)),
        (Fraction(0), _meter_message(score.meter)),
        (Fraction(0), _key_message(score.key)),
    ]
    for moment in timeline(score):
        item = moment.item
        if isinstance(item, Tempo) and options.tempo is None and (quarters := quarters_a_minute(item)) is not None:
            changes.append((moment.onset, _tempo_message(quarters)))
        elif isinstance(item, Meter) and moment.part == 0:
            changes.append((moment.onset, _meter_message(item)))
        elif isinstance(item, Key) and moment.part == 0:
            changes.append((moment.onset, _key_message(item)))
    # At one tick the last change of a kind counts.
    latest = {(_tick(onset), message.dict()["type"]): message for onset, message in changes if message is not None}
    return found + [(tick, _META, message) for (tick, _kind), message in latest.items()]


def _tempo_message(quarters: Fraction) -> mido.MetaMessage:
    microseconds = SLOWEST if quarters <= 0 else max(FASTEST, min(SLOWEST, round(60_000_000 / quarters)))
    return mido.MetaMessage("set_tempo", tempo=microseconds)


def _meter_message(meter: Meter) -> mido.MetaMessage | None:
    """None for free meter and for what MIDI cannot say."""
    match = _METER.fullmatch(meter.text)
    over, under = METER_NAMES.get(meter.text, (0, 0))
    if match:
        over, under = sum(map(int, match[1].split("+"))), int(match[2])
    if meter.bar is None or not 0 < over < 256 or under not in (1, 2, 4, 8, 16, 32, 64):
        return None
    clocks = max(1, min(255, int(meter.beat * 24)))
    return mido.MetaMessage("time_signature", numerator=over, denominator=under, clocks_per_click=clocks)


def _key_message(key: Key) -> mido.MetaMessage | None:
    if not -7 <= key.fifths <= 7:
        return None
    if key.mode in MINOR_MODES and not key.pipes and key.tonic:
        return mido.MetaMessage("key_signature", key=MINOR_KEYS[key.fifths + 7] + "m")
    return mido.MetaMessage("key_signature", key=MAJOR_KEYS[key.fifths + 7])


def _played(voices: Sequence[_Voice]) -> Iterable[list[tuple[int, int, mido.Message | mido.MetaMessage]]]:
    """The messages of each voice's track. On one channel a key is released before it is pressed again."""
    pressed: dict[tuple[int, int], list[tuple[int, int, int, int]]] = defaultdict(list)
    for number, voice in enumerate(voices):
        for sound in voice.sounds:
            on = _tick(sound.on)
            if 0 <= sound.pitch < 128:
                pressed[voice.channel, sound.pitch].append((on, max(on + 1, _tick(sound.off)), number, sound.velocity))
    tracks: list[list[tuple[int, int, mido.Message | mido.MetaMessage]]] = []
    for voice in voices:
        name = mido.MetaMessage("track_name", name=_text(voice.name))
        program = mido.Message("program_change", channel=voice.channel, program=voice.program)
        tracks.append([(0, _META, name), (0, _PROGRAM, program), *voice.messages])
    for (channel, pitch), strokes in pressed.items():
        # Of two at the same tick the longer stands.
        longest = {on: (on, off, number, velocity) for on, off, number, velocity in sorted(strokes)}
        kept = list(longest.values())
        for stroke, following in zip(kept, [*kept[1:], None], strict=True):
            on, off, number, velocity = stroke
            off = off if following is None else min(off, following[0])
            # A tune has thousands of them, and what mido would look at is known.
            press = mido.Message("note_on", skip_checks=True, channel=channel, note=pitch, velocity=velocity)
            release = mido.Message("note_off", skip_checks=True, channel=channel, note=pitch, velocity=0)
            tracks[number] += [(on, _ON, press), (off, _OFF, release)]
    return tracks


def _track(messages: Iterable[tuple[int, int, mido.Message | mido.MetaMessage]], end: Fraction) -> mido.MidiTrack:
    track = mido.MidiTrack()
    now = 0
    for tick, _order, message in sorted(messages, key=lambda entry: entry[:2]):
        message.time = tick - now
        track.append(message)
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(0, _tick(end) - now)))
    return track


def _tick(quarters: Fraction) -> int:
    return round(quarters * TICKS)


def _text(text: str) -> str:
    """Text that can be written as UTF-8, whatever half characters a broken source left in it."""
    return text.encode("utf-8", "replace").decode("utf-8")
