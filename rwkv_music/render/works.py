"""Works as files: what is played goes into MIDI and sound as it is, into everything else as a score."""

from collections.abc import Sequence
from pathlib import Path

from rwkv_music.files import write_whole
from rwkv_music.render.save import find_writer, save_score
from rwkv_music.works import Tune, Work

MIDI_SUFFIXES = (".mid", ".midi")
SOUND_SUFFIX = ".wav"


def save_work(
    work: Work,
    path: Path,
    *,
    soundfont: Path | None = None,
    accompaniment: bool = True,
    remarks: Sequence[str] = (),
) -> None:
    """Write a work in the format of the path's suffix, whole or not at all; what is there is overwritten.

    Raises SaveError for an unknown suffix, RenderError and NotationError where it cannot be rendered, OSError.
    """
    suffix = path.suffix.lower()
    if isinstance(work, Tune) or suffix not in (*MIDI_SUFFIXES, SOUND_SUFFIX):
        find_writer(path)
        save_score(work.score, path, soundfont=soundfont, accompaniment=accompaniment, remarks=remarks)
    elif suffix in MIDI_SUFFIXES:
        write_whole(path, work.midi(remarks))
    else:
        from rwkv_music.render.audio import render_wav
        from rwkv_music.render.soundfonts import find_soundfont

        write_whole(path, render_wav(work.midi(), find_soundfont(soundfont), remarks=remarks))
