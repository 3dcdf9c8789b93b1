"""Models from a Hugging Face hub: named, looked up in its cache, fetched, and checked against their sha256.

The cache and the environment variables are those of `huggingface_hub`: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE. Only weights that can be read safely are ever fetched; nothing that is code.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rwkv_music.catalogue import published_models
from rwkv_music.errors import UserError

SUFFIXES = (".safetensors", ".pth", ".st", ".gguf")
ENDPOINT = "https://huggingface.co"
_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w.-]{1,100}))?(?:/(?P<file>[^@]+))?"
)


class HubError(UserError):
    """A model that cannot be had from the hub; says why, and what to do."""


@dataclass(frozen=True)
class HubFile:
    """One weights file of a repository."""

    repo: str
    # None: the only weights file that the repository holds.
    file: str | None
    revision: str = "main"
    # The sha256 that it must have, or its beginning; None: what the hub says.
    sha256: str | None = None


def hub_file(name: str, revision: str | None = None) -> HubFile | None:
    """What a name stands for: the short name of a published model, or owner/repository[@revision][/file].

    None for any other name. Raises HubError for a file that is no weights file or lies outside its repository.
    """
    known = published_models().get(name)
    if known is not None:
        return HubFile(known.repo, known.file, revision or "main", known.sha256)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    if match["file"] is not None:
        _check_file(match["file"])
    return HubFile(match["repo"], match["file"], revision or match["revision"] or "main")


def cached_file(wanted: HubFile) -> Path | None:
    """Where the file lies in the cache; None where it does not."""
    folder = cache_folder() / f"models--{wanted.repo.replace('/', '--')}"
    reference = folder / "refs" / wanted.revision
    try:
        commit = reference.read_text().strip() if reference.is_file() else wanted.revision
    except OSError:
        return None
    snapshot = folder / "snapshots" / commit
    if not re.fullmatch(r"[\w.-]+", commit) or not snapshot.is_dir():
        return None
    if wanted.file is not None:
        path = snapshot / wanted.file
        return path if path.is_file() else None
    found = [path for path in sorted(snapshot.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    return found[0] if len(found) == 1 else None


def pull(wanted: HubFile) -> Path:
    """Fetch a file into the cache, going on where an earlier try stopped, and check its sha256.

    Progress goes to standard error. Raises HubError: offline, no such model, connection lost, or a wrong hash, in which
    case the file is not kept.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE"):
        raise HubError(f"{wanted.repo} cannot be fetched: HF_HUB_OFFLINE is set; unset it, and try again")
    from httpx2 import HTTPError
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
    try:
        name = wanted.file or _only_weights(wanted, endpoint)
        url = hf_hub_url(wanted.repo, name, revision=wanted.revision, endpoint=endpoint)
        told = (get_hf_file_metadata(url, endpoint=endpoint).etag or "").strip('"')
        path = Path(
            hf_hub_download(wanted.repo, name, revision=wanted.revision, endpoint=endpoint, cache_dir=cache_folder())
        )
    except (HTTPError, HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise HubError(f"{wanted.repo} cannot be fetched from {endpoint}: {_first_line(error)}") from None
    expected = wanted.sha256 or (told if re.fullmatch(r"[0-9a-f]{64}", told) else None)
    found = _sha256(path)
    if expected is not None and not found.startswith(expected):
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise HubError(
            f"{wanted.repo}/{name}: its sha256 is {found[:12]}, expected {expected[:12]}: damaged or another file; "
            "it was not kept"
        )
    return path


def cache_folder() -> Path:
    """Where `huggingface_hub` keeps what it fetches."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        caches = os.environ.get("XDG_CACHE_HOME")
        home = str(Path(caches or "~/.cache") / "huggingface")
    return Path(home).expanduser() / "hub"


def _only_weights(wanted: HubFile, endpoint: str) -> str:
    """The one weights file of a repository."""
    from huggingface_hub import HfApi

    names = HfApi(endpoint=endpoint).list_repo_files(wanted.repo, revision=wanted.revision)
    found = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if len(found) != 1:
        some = ", ".join(found[:5]) or "none"
        raise HubError(f"{wanted.repo} holds {len(found)} weights files ({some}): name one, as {wanted.repo}/FILE")
    _check_file(found[0])
    return found[0]


def _check_file(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise HubError(f"{name!r} lies outside its repository")
    if path.suffix.lower() not in SUFFIXES:
        raise HubError(f"{name!r} is no weights file ({', '.join(SUFFIXES)})")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
