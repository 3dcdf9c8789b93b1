"""The files that a browser loads, at addresses that change with their content."""

import hashlib
import json
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
# Where the server has them; relative, so that they are found behind a proxy too.
BASE = "studio"
KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@cache
def address(name: str) -> str:
    """Where a browser finds a file of ours."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]
    return f"{BASE}/static/{name}?v={digest}"


def script_tags(*names: str) -> str:
    """Tags that load scripts, in their order."""
    return "".join(f'<script src="{address(name)}"></script>' for name in names)


@cache
def content(name: str) -> tuple[bytes, str]:
    """A file and its type. Raises KeyError for a name that is none of ours."""
    known = {path.name: path for path in FOLDER.iterdir() if path.suffix in KINDS}
    return known[name].read_bytes(), KINDS[known[name].suffix]


def vendored() -> dict[str, str]:
    """The sha256 of each file that others wrote."""
    return json.loads((FOLDER / "vendor.json").read_text())["sha256"]
