"""MIDI as sound: a stereo WAV, loud enough and never clipped, that lets the last notes ring out."""

import io
import struct
import wave
from collections.abc import Sequence
from pathlib import Path

import midirenderer
import mido
import numpy as np
from mido.midifiles.meta import KeySignatureError

from rwkv_music.render.errors import RenderError
from rwkv_music.render.options import RenderOptions
from rwkv_music.render.soundfonts import find_soundfont
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.score import Score

# What the WAV may last, and how long the last notes may ring on (then silence is cut off).
MAX_SECONDS = 1200.0
RING_SECONDS = 4.0
MAX_MIDI_BYTES = 16 << 20
# Peak after normalising, in dB below full scale, and what counts as silence at the end.
PEAK_DB = -1.0
SILENCE_DB = -66.0
FULL_SCALE = 32767
VOLUME_CONTROL = 7
DEFAULT_VOLUME = 100
# The synthesizer's loudness goes with the square of the volume control: each step halves it.
STEP_DOWN = 0.5**0.5
STEPS = 5
BLOCK = 1 << 20


def render_wav(midi: bytes, soundfont: Path, *, max_seconds: float = MAX_SECONDS, remarks: Sequence[str] = ()) -> bytes:
    """A MIDI file as a WAV file: 16 bits, stereo, peak at -1 dBFS. `remarks` go into its comment (RIFF INFO ICMT).

    Raises RenderError for what is no MIDI file, lasts longer than `max_seconds`, or cannot be played with the
    soundfont.
    """
    if len(midi) > MAX_MIDI_BYTES:
        raise RenderError(f"the MIDI file has {len(midi) >> 20} MiB; at most {MAX_MIDI_BYTES >> 20} can be played")
    file = _read(midi)
    seconds = _seconds(file)
    if seconds > max_seconds:
        raise RenderError(f"the piece lasts {seconds:.0f} s; at most {max_seconds:.0f} s of sound are made")
    font = soundfont.read_bytes()
    rate, samples = _rendered(file, font, soundfont, 1.0)
    for step in range(1, STEPS):
        if _peak(samples) < FULL_SCALE:
            break
        # The synthesizer cuts what is too loud, so it has to play more softly.
        rate, samples = _rendered(file, font, soundfont, STEP_DOWN**step)
    played = int(seconds * rate)
    return _wav(rate, _normalised(_without_silence(samples, played)), remarks)


def wav_file(score: Score, options: RenderOptions) -> bytes:
    """The score as it sounds. Raises SoundfontError besides what `render_wav` raises."""
    font = find_soundfont(options.soundfont)
    midi = write_midi(score, accompaniment=options.accompaniment, options=options.midi)
    return render_wav(midi, font, max_seconds=options.max_seconds, remarks=options.remarks)


def _read(midi: bytes) -> mido.MidiFile:
    try:
        return mido.MidiFile(file=io.BytesIO(midi), clip=True)
    except (OSError, EOFError, ValueError, LookupError, KeySignatureError) as error:
        raise RenderError(f"this is no MIDI file that can be played ({error or type(error).__name__})") from error


def _seconds(file: mido.MidiFile) -> float:
    if file.type == 2:
        raise RenderError("MIDI files of format 2 cannot be played; save it in format 0 or 1")
    if not 0 < file.ticks_per_beat < 0x8000:
        raise RenderError("MIDI files timed in SMPTE frames cannot be played; save it with ticks a quarter")
    return file.length


def _rendered(file: mido.MidiFile, font: bytes, name: Path, volume: float) -> tuple[int, np.ndarray]:
    """(sample rate, samples (frames, 2) int16). `volume` scales every channel's volume control."""
    stream = io.BytesIO()
    _arranged(file, volume).save(file=stream)
    try:
        wav = midirenderer.render_wave_from(font, stream.getvalue())
    except (RuntimeError, ValueError) as error:
        raise RenderError(f"{name}: cannot play with this soundfont ({error})") from error
    return _samples(wav)


def _arranged(file: mido.MidiFile, volume: float) -> mido.MidiFile:
    """The file with time to ring out at its end and every channel's volume scaled."""
    arranged = mido.MidiFile(type=file.type, ticks_per_beat=file.ticks_per_beat, charset=file.charset)
    ring = int(mido.second2tick(RING_SECONDS, file.ticks_per_beat, _final_tempo(file)))
    end = max((sum(message.time for message in track) for track in file.tracks), default=0)
    for track in file.tracks:
        arranged.tracks.append(mido.MidiTrack(_scaled(message, volume) for message in track if not _is_end(message)))
    if volume < 1 and arranged.tracks:
        setting = int(DEFAULT_VOLUME * volume)
        arranged.tracks[0][:0] = [
            mido.Message("control_change", channel=channel, control=VOLUME_CONTROL, value=setting)
            for channel in range(16)
        ]
    for track in arranged.tracks:
        left = end - sum(message.time for message in track)
        track.append(mido.MetaMessage("end_of_track", time=left + ring))
    return arranged


def _scaled(message: mido.Message, volume: float) -> mido.Message:
    if message.dict()["type"] != "control_change" or message.dict()["control"] != VOLUME_CONTROL:
        return message
    return message.copy(value=int(message.dict()["value"] * volume))


def _is_end(message: mido.Message) -> bool:
    return message.dict()["type"] == "end_of_track"


def _final_tempo(file: mido.MidiFile) -> int:
    """Microseconds a quarter at the end of the piece."""
    tempos = [message.tempo for message in mido.merge_tracks(file.tracks) if message.type == "set_tempo"]
    return max(1, tempos[-1]) if tempos else 500_000


def _samples(wav: bytes) -> tuple[int, np.ndarray]:
    with wave.open(io.BytesIO(wav)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (2, 2), "the synthesizer makes 16-bit stereo"
        frames = sound.readframes(sound.getnframes())
        return sound.getframerate(), np.frombuffer(frames, dtype="<i2").reshape(-1, 2)


def _without_silence(samples: np.ndarray, played: int) -> np.ndarray:
    """The `played` frames and what rings on after them, up to the last that is heard."""
    ringing = np.abs(samples[played:].astype(np.int32)).max(axis=1)
    heard = np.flatnonzero(ringing > _peak(samples) * 10 ** (SILENCE_DB / 20))
    return samples[: played + (int(heard[-1]) + 1 if heard.size else 0)]


def _peak(samples: np.ndarray) -> int:
    return max(int(samples.max(initial=0)), -int(samples.min(initial=0)))


def _normalised(samples: np.ndarray) -> np.ndarray:
    peak = _peak(samples)
    gain = np.float32(10 ** (PEAK_DB / 20) * FULL_SCALE / peak) if peak else np.float32(1)
    scaled = np.empty_like(samples)
    # Piece by piece: as floats, twenty minutes would take half a gigabyte.
    for start in range(0, len(samples), BLOCK):
        scaled[start : start + BLOCK] = np.rint(samples[start : start + BLOCK] * gain)
    return scaled


def _wav(rate: int, samples: np.ndarray, remarks: Sequence[str]) -> bytes:
    """RIFF WAVE with a format chunk, the remarks as INFO comment, and the samples."""
    sound = samples.astype("<i2").tobytes()
    frame = 4
    chunks = [(b"fmt ", struct.pack("<HHIIHH", 1, 2, rate, rate * frame, frame, 16))]
    if remarks:
        comment = "\n".join(remarks).encode("utf-8", "replace") + b"\0"
        chunks.append((b"LIST", b"INFO" + _chunk(b"ICMT", comment)))
    chunks.append((b"data", sound))
    body = b"WAVE" + b"".join(_chunk(name, content) for name, content in chunks)
    return _chunk(b"RIFF", body)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
