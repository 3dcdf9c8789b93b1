"""How errors and files are told over the network."""

import re

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
# An absolute path, up to its last name.
PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"]+)+[/\\](?=[^\s/\\:'\"]+)")


def told(error: Exception) -> str:
    """An error as it is told over the network: no path of this machine in it."""
    if isinstance(error, OSError):
        return "the studio's disk cannot be used at this moment"
    return PATH.sub("", str(error))[:400]


def attached(body: bytes, kind: str, name: str) -> Response:
    """A file to keep, which no browser shows as a page."""
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(body, media_type=kind, headers=headers)
