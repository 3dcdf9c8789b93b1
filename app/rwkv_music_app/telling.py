"""How errors and files are told over the network."""

import os
import re
import sys
import tempfile
from pathlib import Path

from fastapi import Response

from rwkv_music.errors import UserError
from rwkv_music_tokenizers.errors import NotationError

# What is told to whoever asked; anything else is a fault of ours.
MINE = (UserError, NotationError, OSError)

KINDS = {
    "abc": "text/vnd.abc; charset=utf-8",
    "mid": "audio/midi",
    "musicxml": "application/vnd.recordare.musicxml+xml",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "wav": "audio/wav",
}
SESSION_KIND = "application/octet-stream"
# How an absolute path begins, which no meter and no length does; and its further names up to the last.
_ROOT = r"(?:[A-Za-z]:)?[/\\]{1,2}(?=[^\W\d]|[._~])"
_NAMES = r"(?:[^\s/\\:'\"]+[/\\])"
# One that a line begins with may have spaces, as a colon ends it; one in the middle of a line has none.
PATHS = re.compile(
    rf"^{_ROOT}[^:\n]*[/\\](?=[^/\\:\n]+:(?:\s|$))|(?:^|(?<=[\s'\"(])){_ROOT}{_NAMES}+(?=[^\s/\\:'\"])", re.MULTILINE
)
# Of an error, the characters that are looked at, and those that are told.
LOOKED_AT, TOLD = 4000, 400
# Folders as they stand in errors, with spaces and all.
_folders = {os.path.expanduser("~"), tempfile.gettempdir(), os.getcwd(), sys.prefix}


def hide(folder: Path) -> None:
    """Errors do not tell of this folder from now on."""
    _folders.update((str(folder), str(folder.resolve())))


def told(error: Exception) -> str:
    """An error as it is told over the network: no path of this machine in it."""
    if isinstance(error, OSError):
        return "the studio's disk cannot be used at this moment"
    text = str(error)[:LOOKED_AT]
    for folder in sorted(_folders, key=len, reverse=True):
        # The root, or a home that nobody knows, is no folder to look for.
        if len(Path(folder).parts) > 1:
            text = re.sub(rf"(?<![\w./\\-]){re.escape(folder)}(?:[/\\]{_NAMES}*|(?![\w.-]))", "", text)
    return PATHS.sub("", text)[:TOLD]


def attached(body: bytes, kind: str, name: str) -> Response:
    """A file to keep, which no browser shows as a page."""
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(body, media_type=kind, headers=headers)
