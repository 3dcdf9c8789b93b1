"""Where the instruments come from: the soundfont that audio is made with."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from rwkv_music.render.errors import SoundfontError

VARIABLE = "RWKV_MUSIC_SOUNDFONT"
SYSTEM_FOLDERS = (Path("/usr/share/sounds/sf2"), Path("/usr/share/sounds/sf3"), Path("/usr/share/soundfonts"))
# A package that carries a small General MIDI soundfont.
CARRIER = "pretty_midi"


def find_soundfont(explicit: Path | None = None) -> Path:
    """The soundfont to use: `explicit`, $RWKV_MUSIC_SOUNDFONT, the user's data folder, the system's, pretty_midi's.

    Only SoundFont 2 files (.sf2) count: the synthesizer cannot read compressed ones (.sf3). Raises SoundfontError
    when none is there, and when one that was asked for is missing or is no .sf2.
    """
    named = explicit
    if named is None and os.environ.get(VARIABLE):
        named = Path(os.environ[VARIABLE])
    if named is not None:
        return _checked(named.expanduser())
    for folder in _folders():
        # A distribution's choice is called default-GM.sf2.
        fonts = sorted(folder.glob("*.sf2"), key=lambda font: (not font.name.startswith("default"), font.name))
        if found := next((font for font in fonts if font.is_file()), None):
            return found
    raise SoundfontError(
        "no soundfont (.sf2) found: run 'pip install pretty_midi' (it carries one), or install your system's "
        f"timgm6mb-soundfont package, or give one with --soundfont FILE or ${VARIABLE}"
    )


def user_folder() -> Path:
    """Where a user puts soundfonts."""
    return platformdirs.user_data_path("rwkv-music", appauthor=False) / "soundfonts"


def _folders() -> Iterator[Path]:
    yield user_folder()
    yield from SYSTEM_FOLDERS
    # Looked up, not imported: the package is slow to load and only its file is wanted.
    spec = importlib.util.find_spec(CARRIER)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent


def _checked(font: Path) -> Path:
    if font.suffix.lower() == ".sf3":
        raise SoundfontError(f"{font}: compressed soundfonts (.sf3) cannot be played; give an .sf2")
    if not font.is_file():
        raise SoundfontError(f"{font}: there is no such soundfont file")
    with font.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise SoundfontError(f"{font}: not a SoundFont 2 file (.sf2)")
    return font
