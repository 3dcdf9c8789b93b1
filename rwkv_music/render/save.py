"""Scores as files: the suffix of the path chooses the format."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rwkv_music.files import write_whole
from rwkv_music.render.errors import RenderError
from rwkv_music.render.options import DEFAULTS, RenderOptions
from rwkv_music_tokenizers.score import Score

# Suffix -> where its writer is; the module is imported when the suffix is chosen, as some need heavy libraries.
WRITERS = {
    ".abc": ("rwkv_music.render.texts", "abc_file"),
    ".mid": ("rwkv_music.render.texts", "midi_file"),
    ".midi": ("rwkv_music.render.texts", "midi_file"),
    ".wav": ("rwkv_music.render.audio", "wav_file"),
    ".svg": ("rwkv_music.render.sheet", "svg_file"),
    ".pdf": ("rwkv_music.render.pdf", "pdf_file"),
    ".musicxml": ("rwkv_music.render.sheet", "musicxml_file"),
    ".xml": ("rwkv_music.render.sheet", "musicxml_file"),
    ".json": ("rwkv_music.render.texts", "json_file"),
}
SUFFIXES = tuple(WRITERS)


class SaveError(RenderError):
    """A file that cannot be written where it should be."""


def save(
    score: Score,
    path: Path,
    *,
    abc_text: str | None = None,
    remarks: Sequence[str] = (),
    options: RenderOptions = DEFAULTS,
    force: bool = False,
) -> None:
    """Write a score in the format of the path's suffix, whole or not at all; overwrites only with `force`.

    `abc_text` is what an .abc holds instead of the score's own ABC; `remarks` tell how the piece was made, and every
    format keeps them. Raises SaveError for an unknown suffix, a file that exists and a folder that does not,
    RenderError and NotationError where the score cannot be rendered, OSError where the file cannot be written.
    """
    writer = find_writer(path)
    if not path.parent.is_dir():
        raise SaveError(f"{path}: there is no folder {path.parent}")
    if path.is_dir() or (path.exists() and not force):
        raise SaveError(f"{path} exists; choose another name, or overwrite it with --force")
    content = writer(score, replace(options, abc_text=abc_text, remarks=tuple(remarks)))
    write_whole(path, content)


def save_score(
    score: Score,
    path: Path,
    *,
    soundfont: Path | None = None,
    accompaniment: bool = True,
    remarks: Sequence[str] = (),
) -> None:
    """`save` for a caller who has made sure that `path` may be written: what is there is overwritten."""
    options = RenderOptions(soundfont=soundfont, accompaniment=accompaniment)
    save(score, path, remarks=remarks, options=options, force=True)


def find_writer(path: Path) -> Callable[[Score, RenderOptions], bytes]:
    """What makes the content of such a file. Raises SaveError for an unknown suffix."""
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise SaveError(f"{path}: the suffix chooses the format: {', '.join(SUFFIXES)}")
    module, name = WRITERS[suffix]
    return getattr(importlib.import_module(module), name)
