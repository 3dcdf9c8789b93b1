"""Single notes as sound, from the soundfont that downloads are made with: what roll, sheet and player sound like."""

import io
import re
import wave
from functools import cache
from pathlib import Path

import midirenderer
import mido
import numpy as np

from rwkv_music.files import write_whole
from rwkv_music.instruments import programs
from rwkv_music.render.errors import RenderError
from rwkv_music.render.soundfonts import find_soundfont
from rwkv_music_app.turns import Turns

DRUMS = "percussion"
DRUM_CHANNEL = 9
NOTE = re.compile(r"([A-G])(b?)(-?[0-9])")
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
VELOCITY = 100
# Seconds that a key is held, and that the sound may ring on after it.
HELD, RING = 4.0, 1.0
TICKS, TEMPO = 480, 500_000
# Every second frame is kept, of both channels the mean: a quarter of the bytes.
THINNED = 2
# What ends as silence is cut off, in parts of full scale.
SILENCE = 1 / 2048
# Bytes of notes on disk: those that were asked for longest ago go first.
CACHE = 256 << 20
# Notes that are rendered at the same time, and that wait for it: a page asks for six at once.
AT_ONCE, WAITING = 2, 12


@cache
def instrument_names() -> tuple[str, ...]:
    """What each of the 128 programs is called in an address, as abcjs and MIDI.js call it: "acoustic_grand_piano"."""
    by_number = sorted((number, name) for name, number in programs().items())
    return tuple(re.sub(r"[^a-z0-9]+", "_", name.replace("'", "")).strip("_") for _, name in by_number)


def pitch_of(name: str) -> int:
    """A note by its name in an address: "C4" is 60, "Bb3" is 58. Raises ValueError for what is none."""
    found = NOTE.fullmatch(name)
    pitch = 12 * (int(found[3]) + 1) + SEMITONES[found[1]] - len(found[2]) if found else -1
    if not 0 <= pitch <= 127:
        raise ValueError(f"{name[:20]!r} is no note")
    return pitch


class Notes:
    """Notes by instrument, each rendered when it is first asked for and kept in a folder."""

    def __init__(self, folder: Path, soundfont: Path | None = None, cache: int = CACHE):
        """Raises SoundfontError for a soundfont that is missing or none, OSError for a folder that cannot be made."""
        self._font = find_soundfont(soundfont)
        stat = self._font.stat()
        self.folder = folder / f"{self._font.stem}-{stat.st_size:x}-{int(stat.st_mtime):x}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._cache = cache
        self._turns = Turns(AT_ONCE, WAITING)

    def wav(self, instrument: str, note: str) -> bytes:
        """A note as a WAV file, mono, 16 bits. Raises ValueError for a name that is none, BusyError, RenderError, OSError."""
        pitch = pitch_of(note)
        drums = instrument == DRUMS
        if not drums and instrument not in instrument_names():
            raise ValueError(f"{instrument[:40]!r} is no instrument")
        program = 0 if drums else instrument_names().index(instrument)
        path = self.folder / f"{'drums' if drums else program}-{pitch}.wav"
        try:
            return path.read_bytes()
        except FileNotFoundError:
            with self._turns:
                content = _rendered(self._font, program, pitch, drums)
            self._make_room(len(content))
            write_whole(path, content)
            return content

    def _make_room(self, needed: int) -> None:
        kept = sorted((path.stat() for path in self.folder.glob("*.wav")), key=lambda stat: stat.st_mtime)
        room = self._cache - needed - sum(stat.st_size for stat in kept)
        if room >= 0:
            return
        for path in sorted(self.folder.glob("*.wav"), key=lambda path: path.stat().st_mtime)[: max(1, len(kept) // 4)]:
            path.unlink(missing_ok=True)


def _rendered(font: Path, program: int, pitch: int, drums: bool) -> bytes:
    try:
        sound = midirenderer.render_wave_from(font.read_bytes(), _midi(program, pitch, drums))
    except (RuntimeError, ValueError) as error:
        raise RenderError(f"this soundfont cannot be played ({error})") from error
    with wave.open(io.BytesIO(sound)) as file:
        rate = file.getframerate()
        frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    whole = frames[: len(frames) // THINNED * THINNED].reshape(-1, THINNED * 2).astype(np.float32).mean(axis=1)
    heard = np.flatnonzero(np.abs(whole) > SILENCE * 32768)
    mono = whole[: int(heard[-1]) + 1 if heard.size else 1].round().astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate // THINNED)
        file.writeframes(mono.tobytes())
    return stream.getvalue()


def _midi(program: int, pitch: int, drums: bool) -> bytes:
    """A MIDI file of one note."""
    channel = DRUM_CHANNEL if drums else 0
    held, ring = (int(mido.second2tick(seconds, TICKS, TEMPO)) for seconds in (HELD, RING))
    file, track = mido.MidiFile(ticks_per_beat=TICKS), mido.MidiTrack()
    track.append(mido.Message("program_change", channel=channel, program=program))
    track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=VELOCITY))
    track.append(mido.Message("note_off", channel=channel, note=pitch, time=held))
    track.append(mido.MetaMessage("end_of_track", time=ring))
    file.tracks.append(track)
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()
