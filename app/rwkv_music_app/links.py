"""Links to single takes, for whoever is given one: nobody can guess them, and their owner takes them back."""

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rwkv_music.files import write_whole

TOKEN = re.compile(r"[0-9a-f]{32}")
SUFFIX = ".link"


@dataclass(frozen=True)
class Link:
    """What a link leads to; `owner` is the hash of whose it is."""

    owner: str
    session: str
    take: int


class Links:
    """All links, by hashes of their tokens."""

    def __init__(self, folder: Path):
        """The folder is made. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder

    def make(self, link: Link) -> str:
        """A new token, 32 hexadecimal digits. Raises OSError."""
        token = secrets.token_hex(16)
        write_whole(self._path(token), json.dumps(asdict(link)).encode())
        return token

    def find(self, token: str) -> Link | None:
        """Where a token leads; None for one that is none."""
        return _read(self._path(token)) if TOKEN.fullmatch(token) else None

    def remove(self, token: str) -> None:
        """Take a link back."""
        self._path(token).unlink(missing_ok=True)

    def clean(self, leads: Callable[[Link], bool]) -> None:
        """Remove those that lead nowhere."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            link = _read(path)
            if link is None or not leads(link):
                path.unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._folder / (hashlib.sha256(token.encode()).hexdigest()[:32] + SUFFIX)


def _read(path: Path) -> Link | None:
    try:
        return Link(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
