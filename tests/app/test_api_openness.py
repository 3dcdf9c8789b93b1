"""To whom the studio answers: over a public link, behind a password, with a link to one take, and with what it shows of itself."""

import re

import pytest
from fastapi.testclient import TestClient

from rwkv_music.cli import main
from rwkv_music_app import command
from rwkv_music_app.gate import Gate
from rwkv_music_app.server import Openness, make_server
from rwkv_music_app.studio import Studio

KEY = {"x-rwkv-music-owner": "0123456789abcdef" * 4}
PASSWORD = ("me", "a-good-password")
TUNE = "X:1\nM:6/8\nL:1/8\nK:G\nGAB c2d|"


@pytest.fixture(scope="module")
def studio(models, tmp_path_factory) -> Studio:
    return Studio(tmp_path_factory.mktemp("pieces"), models)


@pytest.fixture(scope="module")
def app(studio):
    """A server behind a password, with a public link."""
    return make_server(studio, None, Openness(auth=PASSWORD, link="abc.gradio.example"))


def client(app, host: str = "http://127.0.0.1:7860", **more) -> TestClient:
    return TestClient(app, base_url=host, client=("10.2.0.1", 1), **more)


def test_a_password_and_a_key_live_together(app):
    known = client(app)
    assert known.get("/api/v1/health").json() == {"error": "who are you?"}
    assert known.get("/api/v1/health", headers={"authorization": f"Bearer {'0123456789abcdef' * 4}"}).status_code == 401
    piece = known.post("/api/v1/pieces", json={"abc": TUNE}, headers=KEY, auth=PASSWORD).json()["piece"]
    assert known.get(f"/api/v1/pieces/{piece}", headers=KEY, auth=PASSWORD).status_code == 200
    assert known.get(f"/api/v1/pieces/{piece}", auth=PASSWORD).status_code == 404


def test_a_public_link_is_answered_and_its_cookie_is_for_https_only(app):
    for host, secure in (("https://abc.gradio.example", True), ("http://127.0.0.1:7860", False)):
        answer = client(app, host).get("/studio/static/piece.js", auth=PASSWORD)
        assert answer.status_code == 200 and ("Secure" in answer.headers["set-cookie"]) is secure
    for host in ("https://other.gradio.example", "https://abc.gradio.example.evil.example", "https://gradio.example"):
        assert client(app, host).get("/", auth=PASSWORD).status_code == 403
    assert client(app, "https://abc.gradio.example").post("/api/v1/pieces", json={}).status_code == 401


def test_a_link_to_a_take_needs_no_key_but_the_password(app, studio):
    known = client(app)
    piece = known.post("/api/v1/pieces", json={"abc": TUNE}, headers=KEY, auth=PASSWORD).json()["piece"]
    address = known.post(f"/api/v1/pieces/{piece}/takes/0/share", headers=KEY, auth=PASSWORD).json()["address"]
    other = client(app)
    assert other.get(address).status_code == 401
    for form, kind in (("abc", "text/vnd.abc"), ("mid", "audio/midi"), ("svg", "image/svg+xml")):
        answer = other.get(address.replace(".abc", f".{form}"), auth=PASSWORD)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert "attachment" in answer.headers["content-disposition"] and piece not in answer.text
    for method in ("post", "put", "delete"):
        assert other.request(method, address, auth=PASSWORD).status_code in (404, 405)
    for path in (address.replace(".abc", ".exe"), "/studio/shared/..%2f..%2fetc%2fpasswd.abc", "/studio/shared/x.abc"):
        assert other.get(path, auth=PASSWORD).status_code in (404, 422)
    known.delete(f"/api/v1/pieces/{piece}/takes/0/share", headers=KEY, auth=PASSWORD)
    assert other.get(address, auth=PASSWORD).status_code == 404


def test_the_page_of_the_routes_asks_nobody_else(app):
    known = client(app)
    page = known.get("/api/docs", auth=PASSWORD)
    assert page.headers["content-type"].startswith("text/html") and "innerHTML" not in page.text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\(", page.text)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    described = known.get("/api/v1/openapi.json", auth=PASSWORD).json()
    assert described["servers"] == [{"url": "/api"}]
    assert {"/v1/pieces", "/v1/generate", "/v1/states"} <= set(described["paths"])


def test_requests_are_counted_by_their_routes(app):
    known = client(app)
    known.get("/api/v1/pieces/0123", headers=KEY, auth=PASSWORD)
    known.get("/api/v1/pieces/0123", headers=KEY)
    counted = known.get("/api/v1/metrics", auth=PASSWORD).text
    assert 'rwkv_music_requests_total{method="GET",route="/api/v1/pieces/{piece}",status="404"} ' in counted
    assert 'status="401"} ' in counted and "0123" not in counted


def test_a_public_link_needs_a_password(capsys):
    assert main(["app", "--share"]) == 2
    assert "give --auth too" in capsys.readouterr().err


def test_a_public_link_that_cannot_be_had_is_told_in_one_line(monkeypatch, capsys, tmp_path):
    from gradio import networking

    def no_network(*_):
        raise RuntimeError("Could not get share link from Gradio API Server.\nmore")

    monkeypatch.setattr(networking, "setup_tunnel", no_network)
    assert main(["app", "--share", "--auth", ":".join(PASSWORD), "--port", "0", "--folder", str(tmp_path)]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "no link can be had (Could not get share link from Gradio API Server)" in told


def test_tools_for_assistants_need_their_package(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["app", "--mcp"]) == 1
    assert "pip install 'rwkv-music[mcp]'" in capsys.readouterr().err


def test_the_gate_knows_its_own_link_only():
    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    assert TestClient(Gate(page), base_url="http://").get("/").status_code == 403
