"""Fetching from a hub, against a small one on this machine: whole, interrupted, wrong, offline, hostile."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest
from huggingface_hub import try_to_load_from_cache

from rwkv_music import hub as hub_module
from rwkv_music import library
from rwkv_music.catalogue import PublishedModel, published_models
from rwkv_music.cli import main
from rwkv_music.hub import HubError, HubFile, cached_file, hub_file, pull
from rwkv_music.library import ModelNotFoundError, find_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TINY = HubFile("ours/tunes", "tiny.safetensors")


class Hub:
    """One repository, `ours/tunes`, with some files; tells what was asked, and can break off, fall silent or lie."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        # Method, path, range and authorization of every request.
        self.asked: list[tuple[str, str, str | None, str | None]] = []
        # After how many bytes of a body the next connections break off.
        self.breaks: list[int] = []
        # Whether nobody is let in after the first that broke off.
        self.dies = False
        self.down = False
        self.commit = COMMIT
        # What it says of every file instead of its hash.
        self.etag = ""

    def ranges(self) -> list[str]:
        return [asked for _, _, asked, _ in self.asked if asked]

    def fetched(self) -> list[str]:
        """The names whose content was asked for."""
        return [path.rsplit("/", 1)[1] for method, path, _, _ in self.asked if method == "GET" and "/resolve/" in path]

    def hash_of(self, name: str) -> str:
        content = self.files[name]
        if name.endswith(".json"):
            return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        return hashlib.sha256(content).hexdigest()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format, *args):  # noqa: A002
                pass

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                hub.asked.append(
                    (self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization"))
                )
                if hub.down:
                    return self.empty(403, "")
                if "/api/models/" in self.path:
                    return self.listing()
                match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+).*", self.path)
                if not match or match[1] != "ours/tunes":
                    return self.empty(404, "RepoNotFound")
                if match[2] not in ("main", "v1", COMMIT):
                    return self.empty(404, "RevisionNotFound")
                if match[3] not in hub.files:
                    return self.empty(404, "EntryNotFound")
                return self.content(match[3], body)

            def empty(self, code: int, reason: str) -> None:
                self.send_response(code)
                self.send_header("X-Error-Code", reason)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def content(self, name: str, body: bool) -> None:
                content = hub.files[name]
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                start = int(asked[1]) if asked else 0
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("X-Repo-Commit", hub.commit)
                self.send_header("X-Linked-Etag", f'"{hub.etag or hub.hash_of(name)}"')
                self.send_header("X-Linked-Size", str(len(content)))
                self.end_headers()
                if body:
                    cut = hub.breaks.pop(0) if hub.breaks else len(content)
                    self.wfile.write(content[start : start + cut])
                    if cut < len(content) - start:
                        self.wfile.flush()
                        hub.down = hub.dies
                        self.close_connection = True
                        self.connection.close()

            def listing(self) -> None:
                told = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in hub.files]
                if "/tree/" not in self.path:
                    names = [{"rfilename": name} for name in hub.files]
                    told = {"id": "ours/tunes", "sha": hub.commit, "siblings": names, "private": False}
                text = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Iterator[Hub]:
    hub = Hub()
    hub.files["tiny.safetensors"] = tiny_model.read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub.handler())
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield hub
    server.shutdown()
    server.server_close()


def kept(tmp_path: Path) -> list[Path]:
    """Files and links in the cache, but for its locks."""
    found = [path for path in (tmp_path / "hf").rglob("*") if path.is_symlink() or path.is_file()]
    return [path for path in found if ".locks" not in path.parts]


def test_a_model_is_fetched_once_and_opens_by_its_name(hub, tiny_model, tmp_path, capsys):
    assert main(["models", "pull", "ours/tunes"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.read_bytes() == tiny_model.read_bytes()
    assert find_model("ours/tunes").weights == find_model("ours/tunes/tiny.safetensors").weights == path
    assert main(["models", "pull", "ours/tunes"]) == 0
    assert hub.fetched() == ["tiny.safetensors"]
    assert main(["models", "show", "ours/tunes"]) == 0
    assert "version: RWKV-7" in capsys.readouterr().out
    assert try_to_load_from_cache("ours/tunes", "tiny.safetensors", cache_dir=tmp_path / "hf" / "hub") == str(path)


def test_what_broke_off_goes_on_where_it_stopped(hub):
    # Written to the disk by 10 MiB.
    hub.files = {"large.safetensors": bytes(range(256)) * (21 << 12)}
    hub.breaks = [11 << 20]
    path = pull(HubFile("ours/tunes", "large.safetensors"))
    assert path.read_bytes() == hub.files["large.safetensors"]
    assert hub.ranges() == [f"bytes={10 << 20}-"]


def test_a_later_try_goes_on_where_an_earlier_one_was_given_up(hub, tmp_path):
    hub.files = {"large.safetensors": bytes(range(256)) * (21 << 12)}
    hub.breaks, hub.dies = [11 << 20], True
    wanted = HubFile("ours/tunes", "large.safetensors")
    with pytest.raises(HubError, match="cannot be fetched"):
        pull(wanted)
    assert cached_file(wanted) is None
    assert [path.stat().st_size for path in kept(tmp_path)] == [10 << 20]
    hub.down = False
    hub.asked.clear()
    assert pull(wanted).read_bytes() == hub.files["large.safetensors"]
    assert hub.ranges() == [f"bytes={10 << 20}-"]
    assert not [path for path in kept(tmp_path) if path.name.endswith(".incomplete")]


def test_a_wrong_hash_is_refused_and_not_kept(hub, tmp_path, capsys):
    hub.etag = hashlib.sha256(b"another").hexdigest()
    assert main(["models", "pull", "ours/tunes/tiny.safetensors"]) == 1
    error = capsys.readouterr().err
    assert "its sha256 is" in error and "it was not kept" in error
    assert kept(tmp_path) == []
    with pytest.raises(ModelNotFoundError):
        find_model("ours/tunes/tiny.safetensors")


def test_the_hash_of_the_catalogue_goes_before_that_of_the_hub(hub, tmp_path):
    assert pull(TINY).is_file()
    with pytest.raises(HubError, match="expected deadbeefdead"):
        pull(HubFile("ours/tunes", "tiny.safetensors", sha256="deadbeef" * 8))
    assert cached_file(TINY) is None
    assert [path.name for path in kept(tmp_path)] == ["main"]
    assert pull(TINY).is_file()


def test_revisions_are_kept(hub, tiny_model):
    assert main(["models", "pull", "ours/tunes/tiny.safetensors", "--revision", "v1"]) == 0
    assert all("/v1/" in path for _, path, _, _ in hub.asked if "resolve" in path)
    assert find_model("ours/tunes@v1/tiny.safetensors").weights.read_bytes() == tiny_model.read_bytes()
    assert cached_file(HubFile("ours/tunes", "tiny.safetensors", COMMIT)) is not None
    assert cached_file(HubFile("ours/tunes", "tiny.safetensors", "v2")) is None
    with pytest.raises(HubError, match="no revision 'v2'"):
        pull(HubFile("ours/tunes", "tiny.safetensors", "v2"))


@pytest.mark.parametrize("revision", ["../../x", "/etc", "a//b", "v1?", "a b", "x" * 201])
def test_what_can_be_no_revision_is_refused(hub, revision):
    for name in ("ours/tunes", "rwkv-5-abc-82m"):
        with pytest.raises(HubError, match="is no revision"):
            hub_file(name, revision)


def test_a_published_model_comes_with_its_tokenizer_and_settings(hub, monkeypatch):
    entry = {
        **published_models()["rwkv-5-midi-120m"].plain(),
        "name": "tiny",
        "repo": "ours/tunes",
        "file": "tiny.safetensors",
        "sha256": hub.hash_of("tiny.safetensors"),
    }
    models = MappingProxyType({"tiny": PublishedModel(**entry)})
    monkeypatch.setattr(hub_module, "published_models", lambda: models)
    monkeypatch.setattr(library, "published_models", lambda: models)
    assert main(["models", "pull", "tiny"]) == 0
    assert hub.fetched() == ["tiny.safetensors"]
    config = find_model("tiny").config
    assert config is not None and (config.name, config.tokenizer) == ("tiny", "midi")
    assert config.sampling == {"temperature": 1.0, "top_k": 8, "top_p": 0.8, "top_p_first": True}
    assert config.about["sampling"]["penalty_decay"] == 0.997
    # What the catalogue knows is the hash of its own revision only.
    assert hub_file("tiny@v1") == HubFile("ours/tunes", "tiny.safetensors", "v1")


def test_the_config_beside_the_weights_comes_along_and_nothing_else(hub):
    hub.files = {
        "model.safetensors": hub.files["tiny.safetensors"],
        "config.json": json.dumps({"name": "ours", "tokenizer": "abc"}).encode(),
        "modeling_rwkv.py": b"raise SystemExit",
        "tokenizer.bin": b"x",
    }
    pull(HubFile("ours/tunes", None))
    assert hub.fetched() == ["config.json", "model.safetensors"]
    config = find_model("ours/tunes").config
    assert config is not None and config.name == "ours"


def test_a_config_without_end_is_refused(hub, tmp_path):
    hub.files["config.json"] = b" " * ((1 << 20) + 1)
    with pytest.raises(HubError, match="larger than any config"):
        pull(TINY)
    assert kept(tmp_path) == []


def test_the_token_is_shown_to_the_hub(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull(TINY)
    assert {token for _, _, _, token in hub.asked} == {"Bearer hf_secret"}


def test_offline_is_one_line(hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["models", "pull", "rwkv-5-abc-82m"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["generate", "--model", "rwkv-5-abc-82m", "--key", "D", "--meter", "4/4"]) == 1
    assert "fetch it with `rwkv-music models pull rwkv-5-abc-82m`" in capsys.readouterr().err
    assert not hub.asked


def test_what_was_fetched_opens_offline(hub, monkeypatch):
    path = pull(TINY)
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_model("ours/tunes/tiny.safetensors").weights == path
    assert not hub.asked


@pytest.mark.parametrize(
    ("name", "told"),
    [("ours/tunes/other.pth", "it has no file 'other.pth' at 'main'"), ("nobody/x/y.pth", "no such repository")],
)
def test_what_is_not_there_is_one_line(hub, capsys, name, told):
    assert main(["models", "pull", name]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_nobody_at_the_endpoint_is_one_line(hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["models", "pull", "ours/tunes/tiny.safetensors"]) == 1
    error = capsys.readouterr().err
    assert "cannot be fetched from http://127.0.0.1:9" in error and error.count("\n") == 1


def test_several_weights_must_be_told_apart(hub):
    hub.files["other.pth"] = b"x"
    with pytest.raises(HubError, match=r"holds 2 weights files \(other.pth, tiny.safetensors\)"):
        pull(HubFile("ours/tunes", None))


@pytest.mark.parametrize("name", ["../../../evil.pth", "/tmp/evil.pth", "..\\evil.pth", "C:evil.pth", "a\n.pth"])
def test_a_hub_that_lists_names_outside_its_repository_is_refused(hub, tmp_path, name):
    hub.files = {name: b"x"}
    with pytest.raises(HubError, match="outside its repository"):
        pull(HubFile("ours/tunes", None))
    assert kept(tmp_path) == []


@pytest.mark.parametrize(("field", "value"), [("etag", "../../../evil"), ("commit", "../../evil"), ("commit", "main")])
def test_a_hub_that_names_our_files_is_refused(hub, tmp_path, field, value):
    setattr(hub, field, value)
    with pytest.raises(HubError, match="does not answer as a hub does"):
        pull(TINY)
    assert kept(tmp_path) == []
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "name", ["ours/tunes/../../etc/x.pth", "ours/tunes//etc/x.pth", "ours/tunes/model.py", "ours/tunes/model.pkl"]
)
def test_file_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(HubError, match="outside its repository|no weights file"):
        hub_file(name)


@pytest.mark.parametrize(
    "name", ["abc-folk", "tune.abc", "a b/c", "../x/y", "owner/", "http://x/y", "runs/final.pth", "runs/x.safetensors"]
)
def test_other_names_are_none_of_the_hub(name):
    assert hub_file(name) is None
