"""Fetching from a hub, against a small one on this machine: whole, interrupted, wrong, offline, hostile."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rwkv_music.catalogue import published_models
from rwkv_music.cli import main
from rwkv_music.hub import HubError, HubFile, cached_file, hub_file, pull
from rwkv_music.library import ModelNotFoundError, find_model
from rwkv_music.model.versions import read_spec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """One repository, `ours/tunes`, with some files; tells what was asked, and can break off or lie."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        # After how many bytes of a body the next connections break off.
        self.breaks: list[int] = []
        self.lies = False

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
                hub.asked.append((self.command, self.path, self.headers.get("Range")))
                if "/api/models/" in self.path:
                    return self.listing(body)
                match = re.fullmatch(r"/ours/tunes/resolve/([^/]+)/([^?]+).*", self.path)
                if not match or match[2] not in hub.files or match[1] not in ("main", "v1", COMMIT):
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                content = hub.files[match[2]]
                digest = hashlib.sha256(b"another" if hub.lies else content).hexdigest()
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                start = int(asked[1]) if asked else 0
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{digest}"')
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(len(content)))
                self.end_headers()
                if body:
                    cut = hub.breaks.pop(0) if hub.breaks else len(content)
                    self.wfile.write(content[start : start + cut])
                    if cut < len(content) - start:
                        self.wfile.flush()
                        self.close_connection = True
                        self.connection.close()
                return None

            def listing(self, body: bool) -> None:
                import json

                names = [{"rfilename": name} for name in hub.files]
                told = {"id": "ours/tunes", "sha": COMMIT, "siblings": names, "private": False}
                if "/tree/" in self.path:
                    told = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in hub.files]
                text = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if body:
                    self.wfile.write(text)

        return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Iterator[Hub]:
    hub = Hub()
    hub.files["tiny.safetensors"] = tiny_model.read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield hub
    server.shutdown()
    server.server_close()


def kept(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "hf").rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_a_model_is_fetched_once_and_opens_by_its_name(hub, tiny_model, capsys):
    assert main(["models", "pull", "ours/tunes"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.read_bytes() == tiny_model.read_bytes()
    assert find_model("ours/tunes").weights == path
    assert find_model("ours/tunes/tiny.safetensors").weights == path
    fetched = [asked for asked in hub.asked if asked[0] == "GET" and "resolve" in asked[1]]
    assert main(["models", "pull", "ours/tunes"]) == 0
    assert [asked for asked in hub.asked if asked[0] == "GET" and "resolve" in asked[1]] == fetched
    assert main(["models", "show", "ours/tunes"]) == 0
    assert "version: RWKV-7" in capsys.readouterr().out


def test_what_broke_off_goes_on_where_it_stopped(hub):
    # Written to the disk by 10 MiB.
    hub.files = {"large.safetensors": bytes(range(256)) * (21 << 12)}
    hub.breaks = [11 << 20]
    path = pull(HubFile("ours/tunes", "large.safetensors"))
    assert path.read_bytes() == hub.files["large.safetensors"]
    assert [asked for _, _, asked in hub.asked if asked] == [f"bytes={10 << 20}-"]


def test_a_wrong_hash_is_refused_and_not_kept(hub, tmp_path, capsys):
    hub.lies = True
    assert main(["models", "pull", "ours/tunes/tiny.safetensors"]) == 1
    error = capsys.readouterr().err
    assert "its sha256 is" in error and "it was not kept" in error
    assert not kept(tmp_path)
    with pytest.raises(ModelNotFoundError):
        find_model("ours/tunes/tiny.safetensors")


def test_the_hash_of_the_catalogue_goes_before_that_of_the_hub(hub, tmp_path):
    with pytest.raises(HubError, match="expected deadbeef"):
        pull(HubFile("ours/tunes", "tiny.safetensors", sha256="deadbeef"))
    assert not kept(tmp_path)


def test_revisions_are_kept(hub, tiny_model):
    assert pull(HubFile("ours/tunes", "tiny.safetensors", "v1")).read_bytes() == tiny_model.read_bytes()
    assert all("/v1/" in path for _, path, _ in hub.asked if "resolve" in path)
    assert cached_file(HubFile("ours/tunes", "tiny.safetensors", "v1")) is not None
    assert cached_file(HubFile("ours/tunes", "tiny.safetensors", "v2")) is None


def test_offline_is_one_line(hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["models", "pull", "rwkv-5-abc-82m"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not hub.asked
    assert main(["generate", "--model", "rwkv-5-abc-82m", "--key", "D", "--meter", "4/4"]) == 1
    assert "fetch it with `rwkv-music models pull rwkv-5-abc-82m`" in capsys.readouterr().err
    assert not hub.asked


def test_what_is_not_there_or_nobody_answers_is_one_line(hub, monkeypatch, capsys):
    assert main(["models", "pull", "ours/tunes/other.pth"]) == 1
    assert capsys.readouterr().err.count("\n") <= 2
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["models", "pull", "ours/tunes/tiny.safetensors"]) == 1
    assert "cannot be fetched from http://127.0.0.1:9" in capsys.readouterr().err


def test_several_weights_must_be_told_apart(hub):
    hub.files["other.pth"] = b"x"
    with pytest.raises(HubError, match=r"holds 2 weights files \(tiny.safetensors, other.pth\)"):
        pull(HubFile("ours/tunes", None))


@pytest.mark.parametrize("name", ["ours/tunes/../../etc/x.pth", "ours/tunes//etc/x.pth", "ours/tunes/model.py"])
def test_file_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(HubError, match="outside its repository|no weights file"):
        hub_file(name)


@pytest.mark.parametrize("name", ["abc-folk", "tune.abc", "a b/c", "../x/y", "owner/", "http://x/y"])
def test_other_names_are_none_of_the_hub(name):
    assert hub_file(name) is None


def test_every_published_model_says_what_is_needed_to_use_it():
    for name, model in published_models().items():
        wanted = hub_file(name)
        assert wanted is not None and wanted.repo == model.repo and wanted.file == model.file
        assert model.version in ("4", "5.0", "5.1", "6", "7")
        assert model.tokenizer in ("abc", "midi", "midipiano", "mmm")
        assert 0 < model.sampling["top_p"] <= 1


def test_converting_goes_by_the_suffix_and_overwrites_nothing(tiny_model, tmp_path, capsys):
    from rwkv_music.checkpoint.load import load_weights

    for name in ("one.pth", "two.safetensors", "three.gguf", "four"):
        assert main(["models", "convert", str(tiny_model), str(tmp_path / name)]) == 0
        assert read_spec(load_weights(tmp_path / name).shapes) == read_spec(load_weights(tiny_model).shapes)
    assert main(["models", "convert", str(tiny_model), str(tmp_path / "one.pth")]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["models", "convert", str(tiny_model), str(tmp_path / "one.pth"), "--force"]) == 0
    assert main(["models", "convert", str(tiny_model), str(tmp_path / "x.onnx")]) == 1
