"""Notes as the page plays them."""

import io
import wave

import numpy as np
import pytest

from rwkv_music_app.sound import Notes, instrument_names, pitch_of


def samples(content: bytes) -> tuple[int, np.ndarray]:
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def test_names_of_instruments_are_those_that_abcjs_asks_for():
    names = instrument_names()
    assert len(set(names)) == 128
    assert (names[0], names[40], names[73], names[80]) == ("acoustic_grand_piano", "violin", "flute", "lead_1_square")


@pytest.mark.parametrize(("name", "pitch"), [("C4", 60), ("Bb3", 58), ("A0", 21), ("C-1", 0), ("G9", 127)])
def test_names_of_notes(name, pitch):
    assert pitch_of(name) == pitch


@pytest.mark.parametrize("name", ["H4", "C44", "../../x", "G#4", "A9", ""])
def test_what_is_no_note(name):
    with pytest.raises(ValueError, match="no note"):
        pitch_of(name)


def test_a_note_sounds_at_its_pitch_and_is_kept(tmp_path):
    notes = Notes(tmp_path)
    content = notes.wav("flute", "A4")
    rate, sound = samples(content)
    middle = sound[rate : 2 * rate].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum[400:].argmax() + 400 in range(436, 445)
    assert np.abs(sound).max() > 500
    assert len(list(notes.folder.glob("*.wav"))) == 1
    assert notes.wav("flute", "A4") == content


def test_the_folder_of_notes_has_a_limit(tmp_path):
    notes = Notes(tmp_path, cache=300_000)
    for name in ("C4", "D4", "E4", "F4"):
        notes.wav("flute", name)
    assert sum(path.stat().st_size for path in notes.folder.glob("*.wav")) <= 300_000


def test_no_instrument_of_another_name(tmp_path):
    with pytest.raises(ValueError, match="no instrument"):
        Notes(tmp_path).wav("../../etc", "C4")
