"""What comes from outside: whoever sends it, and whatever it is."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rwkv_music.errors import UserError
from rwkv_music_app.assets import FOLDER, content, vendored
from rwkv_music_app.gate import BURST, MOST_BYTES, Gate, owner_in
from rwkv_music_app.listening import lend, listen, run_server
from rwkv_music_app.models import Models
from rwkv_music_app.server import Openness, _cleaning, make_server
from rwkv_music_app.sound import Notes
from rwkv_music_app.studio import Studio
from rwkv_music_app.telling import hide, told
from rwkv_music_app.wants import Begin, GoOn

LOCAL = "http://127.0.0.1:7860"
TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\nGAB c2d|ecA GED|"
OUTSIDE = [
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/secret",
    "/etc/passwd",
    "....//etc/passwd",
    "x\\..\\y",
]


@pytest.fixture(scope="module")
def studio(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("sessions"), models)


@pytest.fixture(scope="module")
def app(studio, tmp_path_factory) -> Gate:
    return make_server(studio, Notes(tmp_path_factory.mktemp("notes")))  # type: ignore[return-value]


@pytest.fixture
def client(app) -> TestClient:
    """A browser that has been here."""
    client = TestClient(app, base_url=LOCAL, client=("10.0.0.1", 1))
    client.get("/studio/static/piece.js")
    return client


def owner_of(client: TestClient) -> str:
    return owner_in("; ".join(f"{name}={value}" for name, value in client.cookies.items()))


@pytest.fixture
def made(studio, client) -> Iterator[str]:
    """A session of the client's with one take."""
    sitting = studio.begin(owner_of(client), Begin(text=TUNE))
    studio.go_on(owner_of(client), sitting.name, GoOn(bars=1, seed=1)).job.settled.wait(20)
    yield sitting.name


def test_everybody_gets_a_cookie_of_their_own(app):
    owners = set()
    for _ in range(3):
        answer = TestClient(app, base_url=LOCAL).get("/studio/static/piece.js")
        owners.add(owner_in(answer.headers["set-cookie"].split(";")[0]))
        assert all(word in answer.headers["set-cookie"] for word in ("HttpOnly", "SameSite=Lax"))
    assert len(owners) == 3 and "" not in owners


def test_a_cookie_that_is_none_of_ours_is_replaced(client):
    answer = client.get("/studio/static/piece.js", headers={"cookie": "rwkv_music=../../etc"})
    assert "rwkv_music=" in answer.headers["set-cookie"]


def test_every_answer_keeps_the_page_to_itself(client):
    for path in ("/", "/studio/static/piece.js", "/studio/take/x/1.abc", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"


def test_takes_are_downloaded_by_whose_they_are(app, client, made):
    mine = client.get(f"/studio/take/{made}/1.abc")
    assert (
        mine.status_code == 200 and mine.text.startswith("X:1") and "attachment" in mine.headers["content-disposition"]
    )
    assert client.get(f"/studio/session/{made}.rwkvsession").content[8:].startswith(b"{")
    other = TestClient(app, base_url=LOCAL, client=("10.0.0.2", 1))
    for path in (f"/studio/take/{made}/1.abc", f"/studio/session/{made}.rwkvsession"):
        assert other.get(path).status_code == 404
        assert other.get(path).text == other.get(path.replace(made, "0" * 32)).text


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_route_leads_out(client, made, path):
    for route in (
        f"/studio/static/{path}",
        f"/studio/sf/{path}-mp3/C4.mp3",
        f"/studio/sf/flute-mp3/{path}.mp3",
        f"/studio/take/{path}/1.abc",
        f"/studio/take/{made}/1.{path}",
        f"/studio/take/{made}/{path}.abc",
        f"/studio/session/{path}.rwkvsession",
        f"/gradio_api/file={path}",
    ):
        answer = client.get(route)
        assert answer.status_code in (403, 404, 405, 422) and "root:" not in answer.text, route


def test_takes_that_are_not_there(client, made):
    for name in ("99.abc", "-1.abc", "1.exe", "1.py", "9999999999999999999999.abc"):
        assert client.get(f"/studio/take/{made}/{name}").status_code in (404, 422)


def test_notes_are_sound(client):
    answer = client.get("/studio/sf/flute-mp3/A4.mp3")
    assert answer.status_code == 200 and answer.content[:4] == b"RIFF"


def test_other_names_of_this_machine_are_not_answered(app):
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example"):
        assert TestClient(app, base_url=LOCAL).get("/", headers={"host": host}).status_code == 403
    for host in ("localhost:7860", "127.0.0.2:7860", "[::1]:7860"):
        assert TestClient(app, base_url=LOCAL).get("/studio/static/piece.js", headers={"host": host}).status_code == 200


def test_other_sites_may_not_ask(client):
    for origin, status in (("http://evil.example", 403), ("null", 403), (LOCAL, 404)):
        assert client.post("/studio/nothing", headers={"origin": origin}).status_code == status


def test_too_much_is_refused(client):
    assert client.post("/gradio_api/upload", content=b"x" * (MOST_BYTES + 1)).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(MOST_BYTES // 65536 + 2):
            yield b"x" * 65536

    headers = {"content-type": "application/json"}
    assert client.post("/gradio_api/component_server", content=endless(), headers=headers).status_code >= 400


def test_what_is_sent_too_slowly_is_refused(monkeypatch):
    monkeypatch.setattr("rwkv_music_app.gate.MOST_SECONDS", 0.05)
    sent = []

    async def page(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def receive():
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"host", b"localhost")],
        "client": ("10.0.0.4", 1),
    }
    asyncio.run(Gate(page)(scope, receive, send))
    assert sent[0]["status"] == 408


def test_too_many_requests_are_refused(app):
    client = TestClient(app, base_url=LOCAL, client=("10.0.0.9", 1))
    answers = [client.post("/studio/nothing").status_code for _ in range(int(BURST) + 40)]
    assert answers[0] == 404 and 429 in answers
    assert TestClient(app, base_url=LOCAL, client=("10.0.0.10", 1)).post("/studio/nothing").status_code == 404


def test_downloads_count_as_requests_and_notes_that_the_page_plays_do_not(app):
    def answers(client: str, path: str) -> set[int]:
        browser = TestClient(app, base_url=LOCAL, client=(client, 1))
        return {browser.get(path).status_code for _ in range(int(BURST) + 40)}

    assert answers("10.0.0.11", "/studio/session/nothing.rwkvsession") == {404, 429}
    assert answers("10.0.0.12", "/studio/sf/flute-mp3/A4.mp3") == {200}


def test_a_password_is_asked_for_before_anything_else():
    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    client = TestClient(Gate(page, auth=("me", "a-good-password"), local=False), base_url="http://studio.example")
    assert client.get("/").status_code == 401
    assert client.get("/", auth=("me", "wrong-password")).status_code == 401
    assert client.get("/", headers={"authorization": "Basic ???"}).status_code == 401
    assert client.get("/studio/static/piece.js", auth=("me", "a-good-password")).text == "in"


def component(client: TestClient) -> int:
    """The number of the component that answers questions."""
    config = client.get("/config").json()
    return next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "rm-desk")


@pytest.mark.parametrize("asked", [{}, [], None, {"what": "open"}, {"what": "rm", "session": "x"}, {"session": {}, "take": []},
                                   {"what": "go_to", "session": "../../etc", "take": "x"}])  # fmt: skip
def test_wishes_that_are_none_are_told_so(client, asked):
    for name in ("tell", "since"):
        body = {"data": asked, "fn_name": name, "session_hash": "x", "component_id": component(client)}
        answer = client.post("/gradio_api/component_server", json=body)
        assert answer.status_code in (200, 422)
        if answer.status_code == 200:
            assert "error" in answer.json()


def test_wishes_of_others_are_not_heard(app, client, made):
    other = TestClient(app, base_url=LOCAL, client=("10.0.0.3", 1))
    for asked in ({"what": "open", "session": made}, {"what": "forget", "session": made}):
        body = {"data": asked, "fn_name": "tell", "session_hash": "x", "component_id": component(client)}
        assert "no such piece" in other.post("/gradio_api/component_server", json=body).json()["error"]
        if asked["what"] == "open":
            assert client.post("/gradio_api/component_server", json=body).json()["tree"]["takes"]


def test_errors_tell_no_paths(tmp_path):
    assert told(ValueError("/usr/share/sounds/sf2/a.sf2: cannot play")) == "a.sf2: cannot play"
    assert told(ValueError(r"C:\Users\me\x.mid: no")) == "x.mid: no"
    assert "/" not in told(OSError(2, "No such file", "/home/me/secret"))
    assert told(ValueError(r"C:\Users\Anna Berg\My Music\bb.rwkvsession: damaged")) == "bb.rwkvsession: damaged"
    assert told(ValueError("there is no folder '/opt/music/deep/er'")) == "there is no folder 'er'"
    home, folder = Path.home(), tmp_path / "of Anna Berg"
    assert told(ValueError(f"not in {home} and not in {home / 'x' / 'y.abc'}")) == "not in  and not in y.abc"
    hide(folder)
    assert told(ValueError(f"one of {folder / 'a' / 'b.mid'} is gone")) == "one of b.mid is gone"


@pytest.mark.parametrize("music", ["a bar of 6/8 is 7/8 long", "M:6/8/4", "'A/2/2B' and /2/4 or c/d/e", r"\"2/4\" 3/4"])
def test_music_is_no_path(music):
    assert told(ValueError(music)) == music


def test_what_others_wrote_is_what_was_fetched():
    import hashlib

    assert vendored()
    for name, digest in vendored().items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
    assert json.loads((FOLDER / "vendor.json").read_text())["licence"] == "MIT"


def test_only_our_files_are_files():
    for name in ("vendor.json", "../server.py", "nothing.js"):
        with pytest.raises(KeyError):
            content(name)


def test_cleaning_goes_on_after_a_disk_that_failed_once(monkeypatch):
    monkeypatch.setattr("rwkv_music_app.server.CLEANING", 0.001)
    again, looks = threading.Event(), []

    def clean() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("the disk is away")
        again.set()

    async def live() -> bool:
        async with _cleaning(SimpleNamespace(clean=clean, close=int), None)(FastAPI()):  # type: ignore[arg-type]
            return await asyncio.to_thread(again.wait, 5)

    assert asyncio.run(live())


def test_who_is_asked_for_nothing_is_on_this_machine():
    assert Openness() == Openness(auth=None, local=True)


def test_a_connection_stays_open_for_longer_than_clients_and_proxies_use_one_again(monkeypatch):
    served = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: served.append((server.config, sockets)))
    with listen("127.0.0.1", 0) as listener:
        run_server(FastAPI(), listener)
        ((config, sockets),) = served
        assert sockets == [listener] and config.timeout_keep_alive > max(60, httpx2.Limits().keepalive_expiry or 0)


def test_a_port_that_is_lent_is_there_for_who_knows_its_number_and_refused_to_others():
    with lend(listen("127.0.0.1", 0)) as held, socket.socket() as theirs, socket.socket() as other:
        with pytest.raises(OSError):
            other.bind(held.getsockname())
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            theirs.setsockopt(socket.SOL_SOCKET, option, 1)
        theirs.bind(held.getsockname())
        theirs.listen()
        with socket.create_connection(held.getsockname()) as called, theirs.accept()[0] as answered:
            assert called.getsockname() == answered.getpeername()
    with pytest.raises(UserError, match="cannot be used"), listen("127.0.0.1", 0) as taken:
        taken.listen()
        listen(*taken.getsockname())
