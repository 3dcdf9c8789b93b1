"""MIDI as sound."""

import io
import wave
from pathlib import Path

import mido
import numpy as np
import pytest

from rwkv_music.render.audio import render_wav
from rwkv_music.render.errors import RenderError
from rwkv_music.render.soundfonts import find_soundfont
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.midi_writer import write_midi


@pytest.fixture(scope="module")
def soundfont() -> Path:
    return find_soundfont()


def tune(music: str) -> bytes:
    return write_midi(read_abc(f"X:1\nQ:1/4=240\nM:4/4\nL:1/4\nK:C\n{music}\n"))


def samples(wav: bytes) -> tuple[int, np.ndarray]:
    with wave.open(io.BytesIO(wav)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (2, 2)
        content = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2").reshape(-1, 2)
        return sound.getframerate(), content.astype(np.int32)


def test_a_tune_is_loud_but_never_clipped(soundfont: Path):
    _rate, sound = samples(render_wav(tune("CDEF|]"), soundfont))
    assert np.abs(sound).max() == pytest.approx(32767 * 10 ** (-1 / 20), abs=2)


def test_the_last_note_rings_out(soundfont: Path):
    rate, sound = samples(render_wav(tune("C4|]"), soundfont))
    assert 1.05 * rate < len(sound) < 5.1 * rate
    assert np.abs(sound[rate : rate + 2000]).max() > 100
    assert np.abs(sound[-100:]).max() < 100


def test_many_loud_notes_at_once_are_played_more_softly_instead_of_clipped(soundfont: Path):
    file = mido.MidiFile(type=1)
    track = mido.MidiTrack()
    file.tracks.append(track)
    for channel in range(4):
        for note in range(40, 90, 3):
            track.append(mido.Message("note_on", channel=channel, note=note, velocity=127))
    track.append(mido.MetaMessage("end_of_track", time=960))
    stream = io.BytesIO()
    file.save(file=stream)
    _rate, sound = samples(render_wav(stream.getvalue(), soundfont))
    loudest = np.abs(sound).max()
    assert (np.abs(sound) == loudest).sum() < 5


def test_remarks_are_kept_as_a_comment(soundfont: Path):
    wav = render_wav(tune("C|]"), soundfont, remarks=["seed 7"])
    assert b"LIST" in wav
    assert b"ICMT\x07\0\0\0seed 7\0" in wav
    assert int.from_bytes(wav[4:8], "little") == len(wav) - 8
    samples(wav)


def test_a_piece_too_long_is_refused_before_it_is_rendered(soundfont: Path):
    with pytest.raises(RenderError, match="at most 1 s"):
        render_wav(tune("C4|C4|C4|]"), soundfont, max_seconds=1)


def test_a_piece_without_notes_is_silence(soundfont: Path):
    _rate, sound = samples(render_wav(tune("z4|]"), soundfont))
    assert np.abs(sound).max(initial=0) == 0


@pytest.mark.parametrize("midi", [b"", b"MThd", b"RIFF1234", b"MThd\0\0\0\6\0\2\0\0\1\xe0", tune("C|]")[:60]])
def test_what_is_no_midi_is_refused_in_one_line(soundfont: Path, midi: bytes):
    with pytest.raises(RenderError) as refused:
        render_wav(midi, soundfont)
    assert "\n" not in str(refused.value)


def test_a_broken_soundfont_is_refused(tmp_path: Path):
    broken = tmp_path / "broken.sf2"
    broken.write_bytes(b"RIFF\0\0\0\0sfbk")
    with pytest.raises(RenderError, match="broken.sf2"):
        render_wav(tune("C|]"), broken)
