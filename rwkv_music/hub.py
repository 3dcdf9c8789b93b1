"""Models from a Hugging Face hub: named, looked up in its cache, fetched, and checked against their sha256.

The cache and the environment variables are those of `huggingface_hub`: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE. Only weights that can be read safely and the config.json beside them are ever fetched; nothing that is
code. What a hub says is not believed: names stay in their folder, and a file is kept when its hash is right.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rwkv_music.catalogue import PublishedModel, published_models
from rwkv_music.errors import UserError
from rwkv_music.files import write_whole

SUFFIXES = (".safetensors", ".pth", ".st", ".gguf")
CONFIG = "config.json"
CONFIG_LIMIT = 1 << 20
ENDPOINT = "https://huggingface.co"
# Seconds to wait for an answer.
TIMEOUT = 10
_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w.-]{1,100}))?(?:/(?P<file>[^@]+))?",
    re.ASCII,
)
_REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# A sha256 of files kept apart from git, which all large ones are; git's own sha1 of others.
_ETAG = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


class HubError(UserError):
    """A model that cannot be had from the hub; says why, and what to do."""


@dataclass(frozen=True)
class HubFile:
    """One weights file of a repository."""

    repo: str
    # None: the only weights file that the repository holds.
    file: str | None
    revision: str = "main"
    # The sha256 that it must have; None: what the hub says.
    sha256: str | None = None


@dataclass(frozen=True)
class _Told:
    """What the hub says about a file."""

    url: str
    commit: str
    etag: str
    size: int | None


def hub_file(name: str, revision: str | None = None) -> HubFile | None:
    """What a name stands for: short name[@revision] of a published model, or owner/repository[@revision][/file].

    None for any other name, such as a path of two parts that ends like a weights file. Raises HubError for a published
    model that is on no hub, for a file that is no weights file or lies outside its repository, and for a revision that
    can be none.
    """
    short, _, wanted = name.partition("@")
    if (known := published_models().get(short)) is not None:
        return _published(known, revision or wanted or None)
    match = _NAME.fullmatch(name)
    if match is None or (match["file"] is None and PurePosixPath(match["repo"]).suffix.lower() in SUFFIXES):
        return None
    if match["file"] is not None:
        _check_file(match["file"])
    return HubFile(match["repo"], match["file"], _checked(revision or match["revision"] or "main"))


def _published(known: PublishedModel, revision: str | None) -> HubFile:
    if known.repo is None:
        place = f"it is on {known.source}" if known.source else "no public place is known"
        raise HubError(f"'{known.name}' is on no hub ({place}): get {known.file}, and name its path")
    if revision in (None, known.revision):
        return HubFile(known.repo, known.file, known.revision or "main", known.sha256)
    return HubFile(known.repo, known.file, _checked(revision))


def cached_file(wanted: HubFile) -> Path | None:
    """Where the file lies in the cache; None where it does not."""
    folder = _folder(wanted.repo)
    reference = folder / "refs" / wanted.revision
    try:
        commit = reference.read_text().strip() if reference.is_file() else wanted.revision
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not snapshot.is_dir():
        return None
    if wanted.file is not None:
        path = snapshot / wanted.file
        return path if path.is_file() else None
    found = [path for path in sorted(snapshot.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    return found[0] if len(found) == 1 else None


def pull(wanted: HubFile) -> Path:
    """Fetch a file into the cache, going on where an earlier try stopped, and check its sha256.

    A config.json that lies beside the weights comes along, except for published models. Progress goes to standard
    error. Raises HubError: offline, no such model, connection lost, or a wrong hash, in which case nothing is kept.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE"):
        raise HubError(f"{wanted.repo} cannot be fetched: HF_HUB_OFFLINE is set; unset it, and try again")
    # What huggingface_hub itself speaks through, and whose errors it lets pass.
    from httpx2 import HTTPError, InvalidURL

    endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    try:
        names = [wanted.file] if wanted.sha256 and wanted.file else _choose(wanted, endpoint)
        paths = [_fetch(wanted, name, endpoint) for name in names]
    except (HTTPError, InvalidURL, OSError, ValueError) as error:
        if isinstance(error, HubError):
            raise
        raise HubError(f"{wanted.repo} cannot be fetched from {endpoint}: {_reason(error, wanted)}") from None
    return paths[-1]


def cache_folder() -> Path:
    """Where `huggingface_hub` keeps what it fetches."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        caches = os.environ.get("XDG_CACHE_HOME")
        home = str(Path(caches or "~/.cache") / "huggingface")
    return Path(home).expanduser() / "hub"


def _folder(repo: str) -> Path:
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def _choose(wanted: HubFile, endpoint: str) -> list[str]:
    """What to fetch of a repository: the config beside the weights, where there is one, and at last the weights."""
    from huggingface_hub import HfApi

    # Not `list_repo_files`, which asks for half a minute before it says that nobody answers.
    about = HfApi(endpoint=endpoint).model_info(wanted.repo, revision=wanted.revision, timeout=TIMEOUT)
    names = {sibling.rfilename for sibling in about.siblings or ()}
    found = sorted(name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES)
    weights = wanted.file
    if weights is None:
        if len(found) != 1:
            some = ", ".join(name[:80] for name in found[:5]) or "none"
            raise HubError(f"{wanted.repo} holds {len(found)} weights files ({some}): name one, {wanted.repo}/FILE")
        weights = found[0]
        _check_file(weights)
    config = str(PurePosixPath(weights).with_name(CONFIG))
    return [config, weights] if config in names else [weights]


def _fetch(wanted: HubFile, name: str, endpoint: str) -> Path:
    """One file, into the cache as `huggingface_hub` lays it out: a blob, a link to it, a note which commit it is of."""
    told = _ask(wanted, name, endpoint)
    if name.endswith(CONFIG) and (told.size or 0) > CONFIG_LIMIT:
        raise HubError(f"{wanted.repo}/{name}: larger than any config ({CONFIG_LIMIT >> 20} MiB)")
    folder = _folder(wanted.repo)
    link = folder / "snapshots" / told.commit / name
    blob = link if link.is_file() else folder / "blobs" / told.etag
    if not blob.is_file():
        _download(told, blob, cache_folder() / ".locks" / folder.name)
    expected = wanted.sha256 if name == wanted.file and wanted.sha256 else told.etag
    found = _digest(blob, len(expected))
    if found != expected:
        blob.resolve().unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise HubError(
            f"{wanted.repo}/{name}: its sha{'256' if len(expected) == 64 else '1'} is {found[:12]}, "
            f"expected {expected[:12]}: damaged or another file; it was not kept"
        )
    if blob != link:
        _link(link, blob)
    if wanted.revision != told.commit:
        note = folder / "refs" / wanted.revision
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, told.commit.encode())
    return link


def _ask(wanted: HubFile, name: str, endpoint: str) -> _Told:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(wanted.repo, name, revision=wanted.revision, endpoint=endpoint)
    told = get_hf_file_metadata(url, endpoint=endpoint)
    # Both become names of files.
    if not _COMMIT.fullmatch(told.commit_hash or "") or not _ETAG.fullmatch(told.etag or ""):
        raise HubError(f"{endpoint} does not answer as a hub does; check HF_ENDPOINT")
    return _Told(url, str(told.commit_hash), str(told.etag), told.size)


def _download(told: _Told, blob: Path, locks: Path) -> None:
    """Fetch the blob, from where an earlier try left off; what is there of it stays when the connection is lost."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    part = blob.with_name(f"{told.etag}.incomplete")
    for folder in (blob.parent, locks):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(locks / f"{told.etag}.lock"):
        if blob.is_file():
            return
        with part.open("ab") as file:
            if told.size is None or file.tell() > told.size:
                file.truncate(0)
            http_get(
                told.url,
                file,
                resume_size=file.seek(0, os.SEEK_END),
                headers=build_hf_headers(),
                expected_size=told.size,
                displayed_filename=blob.name[:12],
            )
        part.replace(blob)


def _link(link: Path, blob: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(os.path.relpath(blob, link.parent))
    except OSError:
        # Windows allows links to some people only.
        blob.replace(link)


def _checked(revision: str) -> str:
    if not _REVISION.fullmatch(revision) or ".." in revision or len(revision) > 200:
        raise HubError(f"{revision[:80]!r} is no revision: name a branch, a tag or a commit")
    return revision


def _check_file(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not name.isprintable() or set(name) & set('\\:*?"<>|'):
        raise HubError(f"{name[:200]!r} lies outside its repository")
    if path.suffix.lower() not in SUFFIXES:
        raise HubError(f"{name[:200]!r} is no weights file ({', '.join(SUFFIXES)})")


def _digest(path: Path, length: int) -> str:
    """The sha256 of a file, or the sha1 that git gives it, by the length of the one it is compared with."""
    digest = hashlib.sha256() if length == 64 else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _reason(error: BaseException, wanted: HubFile) -> str:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "its owner wants to be asked first: do so on its page, and set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            return "there is no such repository, or it is private: check the name, or set HF_TOKEN"
        case errors.RevisionNotFoundError():
            return f"it has no revision '{wanted.revision}'"
        case errors.EntryNotFoundError():
            return f"it has no file '{wanted.file}' at '{wanted.revision}'"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
