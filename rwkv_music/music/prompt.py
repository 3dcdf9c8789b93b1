"""What a piece may begin with: a file, ABC text, the bytes of a MIDI file, or music that is at hand already."""

from pathlib import Path
from typing import TypeAlias

from rwkv_music.errors import UserError
from rwkv_music.files import FileError
from rwkv_music.music.take import Take
from rwkv_music.prompts import NOTHING, Source, performance_source, read_source
from rwkv_music.works import Played, Tune
from rwkv_music_tokenizers.abc_writer import write_abc
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.score import Score

# A string is the path of a file, where there is one, or else ABC.
Prompt: TypeAlias = str | Path | bytes | Score | Performance | Tune | Played | Take


def source_of(prompt: Prompt | None, tune: int | None = None) -> Source:
    """The music in a prompt; tune: which one of a tunebook, from 1.

    Raises UserError for what is no music, NotationError for a score that cannot be written, or OSError.
    """
    match prompt:
        case None:
            return NOTHING
        case str():
            if prompt.strip() in ("", "-"):
                raise UserError(f"the prompt {prompt!r} is neither a file nor ABC")
            return read_source(prompt, tune)
        case Path():
            if not prompt.is_file():
                raise FileError(f"{prompt}: there is no such file")
            return read_source(str(prompt), tune)
        case bytes():
            return performance_source(prompt, "the MIDI prompt")
        case Score():
            return Source(write_abc(prompt))
        case Performance():
            return Source(performance=prompt)
        case Take():
            return source_of(prompt.work)
        case Tune():
            return Source(prompt.abc)
        case Played():
            return Source(performance=prompt.performance)
