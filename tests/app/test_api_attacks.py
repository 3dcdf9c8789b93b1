"""What strangers may try on the API: nothing gets in, nothing is fetched, nothing falls over."""

import base64
import contextlib
import io
import json
import socket
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import hypothesis
import mido
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from rwkv_music.usual import usual_run
from rwkv_music_app import gate
from rwkv_music_app.api.application import make_api
from rwkv_music_app.api.refusals import add_refusals
from rwkv_music_app.gate import Gate
from rwkv_music_app.studio import Studio

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\nGAB c2d|ecA GED|"
OUTSIDE = ["../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2fsecret", "%2fetc%2fpasswd", "x%5c..%5cy", "a%00b"]
HOSTILE = ["<img src=x onerror=alert(1)>", "{{value}}", "${globalThis.pwn()}", "</script><script>alert(1)</script>"]
KEY = {"x-rwkv-music-owner": "0123456789abcdef" * 4}
URL = "http://169.254.169.254/latest/meta-data"


@pytest.fixture
def client(studio, programs):
    return programs(studio)()


@pytest.fixture
def piece(client) -> str:
    """A piece with one take."""
    name = client.post("pieces", json={"abc": TUNE}).json()["piece"]
    client.post(f"pieces/{name}/takes?stream=false", json={"bars": 1, "seed": 1})
    return name


@pytest.fixture
def connections(monkeypatch) -> list:
    """Wherever anything tries to connect to, or asks for the address of."""
    tried: list = []

    def refuse(*told, **_):
        tried.append(told)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_route_leads_out(client, piece, path):
    routes = (
        ("get", f"pieces/{path}"), ("delete", f"pieces/{path}"), ("post", f"pieces/{path}/takes"),
        ("post", f"pieces/{path}/cancel"), ("get", f"pieces/{path}/state"), ("get", f"pieces/{path}/takes/1.abc"),
        ("get", f"pieces/{piece}/takes/{path}.abc"), ("get", f"pieces/{piece}/takes/1.{path}"),
        ("post", f"pieces/{piece}/takes/{path}/share"), ("get", path), ("get", f"docs/{path}"),
    )  # fmt: skip
    for method, route in routes:
        answer = client.request(method, route)
        assert answer.status_code in (404, 405, 422) and "root:" not in answer.text, route
        assert set(answer.json()) == {"error"}, route


def test_too_much_and_too_slow_is_refused(client, monkeypatch):
    assert client.post("pieces", json={"abc": "x" * (7 << 20)}).status_code == 413
    monkeypatch.setattr(gate, "STATES", (10_000, 60.0))
    assert client.post("states", content=b"x" * 10_001).json() == {"error": "at most 0 MiB can be sent"}

    def parts():
        for _ in range(20):
            yield b"x" * 1000

    answer = client.post("states", content=parts())
    assert answer.status_code == 413 and "error" in answer.json()
    monkeypatch.setattr(gate, "STATES", (10_000, 0.0))
    assert client.post("states", content=b"x").status_code in (408, 422)


def test_other_sites_and_too_many_requests_are_refused(client, monkeypatch):
    monkeypatch.setattr(gate, "RATE", 0.0)
    answer = client.post("pieces", json={}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403 and "another site" in answer.json()["error"]
    answers = [client.get("health") for _ in range(int(gate.BURST) + 40)]
    assert answers[0].status_code == 200 and answers[-1].status_code == 429
    assert set(answers[-1].json()) == {"error"}


def test_nothing_is_ever_fetched(client, connections):
    musicxml = (
        f'<?xml version="1.0"?><!DOCTYPE score-partwise SYSTEM "{URL}" [<!ENTITY x SYSTEM "{URL}">]>'
        '<score-partwise><work><work-title>&x;</work-title></work><part-list><score-part id="P1"><part-name>&x;</part-name>'
        '</score-part></part-list><part id="P1"><measure number="1"><note><pitch><step>C</step><octave>4</octave></pitch>'
        "<duration>4</duration><type>whole</type></note></measure></part></score-partwise>"
    )
    wishes = [
        {name: URL} for name in ("model", "abc", "name", "key", "meter", "tempo", "rhythm", "title", "instruments")
    ]
    wishes.append(
        {"abc": f"%%abc-include {URL}\nI:abc-include {URL}\nX:1\nT:{URL}\nF:{URL}\nM:6/8\nL:1/8\nK:G\nGAB c2d|"}
    )
    wishes.append({"file": base64.b64encode(URL.encode()).decode(), "name": URL})
    wishes.append({"file": base64.b64encode(musicxml.encode()).decode(), "name": "a.musicxml"})
    for wish in wishes:
        answer = client.post("pieces", json=wish)
        assert answer.status_code in (201, 422), wish
        if answer.status_code == 201:
            for form in ("abc", "mid", "musicxml", "svg", "pdf"):
                assert client.get(f"pieces/{answer.json()['piece']}/takes/0.{form}").status_code in (200, 422)
    for wish in ({"compass": URL}, {"scale": URL}):
        assert client.post("generate", json={"takes": wish}).status_code == 422
    assert connections == []


def hostile_midi() -> str:
    """A MIDI file whose every text is an attack, in base64."""
    file = mido.MidiFile(ticks_per_beat=480)
    track = file.add_track()
    for kind in ("track_name", "text", "copyright", "lyrics", "instrument_name", "marker"):
        for text in HOSTILE:
            field = {"name" if kind in ("track_name", "instrument_name") else "text": text}
            track.append(mido.MetaMessage(kind, **field))  # type: ignore[arg-type]
    for pitch in (60, 62, 64, 65, 67, 69, 71, 72):
        track.append(mido.Message("note_on", note=pitch, velocity=80))
        track.append(mido.Message("note_off", note=pitch, time=480))
    content = io.BytesIO()
    file.save(file=content)
    return base64.b64encode(content.getvalue()).decode()


@pytest.mark.parametrize("begin", [{"file": hostile_midi(), "name": f"{HOSTILE[0]}.mid"}, {"abc": "".join(
    f"T:{text}\n" for text in ["", *HOSTILE]).replace("T:\n", "X:1\n") + f"M:4/4\nL:1/4\nK:C\n\"^{HOSTILE[0]}\"CDEF|\nw:{HOSTILE[1]}\n"}],
    ids=["midi", "abc"])  # fmt: skip
def test_texts_of_strangers_are_nothing_but_text(client, begin):
    answer = client.post("generate", json={"piece": begin, "takes": {"bars": 1, "seed": 1}})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    piece = json.loads(answer.text.split("data: ", 2)[1].split("\n")[0])["piece"]
    for path in (f"pieces/{piece}", "pieces", f"pieces/{piece}/takes?stream=false"):
        told = client.post(path, json={"bars": 1}) if path.endswith("false") else client.get(path)
        assert (
            told.headers["content-type"] == "application/json" and told.headers["x-content-type-options"] == "nosniff"
        )
    for form in ("abc", "mid", "musicxml", "svg", "pdf", "wav"):
        found = client.get(f"pieces/{piece}/takes/1.{form}")
        assert found.status_code == 200 and "attachment" in found.headers["content-disposition"], form
        assert "html" not in found.headers["content-type"]
        if form in ("svg", "musicxml"):
            nodes = list(ElementTree.fromstring(found.content).iter())
            names = {str(node.tag).rpartition("}")[2].lower() for node in nodes}
            assert not names & {"script", "img", "foreignobject", "iframe"}
            assert not [name for node in nodes for name in node.attrib if name.lower().startswith("on")]


@pytest.fixture
def description(models, tmp_path, monkeypatch):
    """The routes as OpenAPI tells of them, of a studio whose takes are short."""
    monkeypatch.setattr(gate, "BURST", 1e9)
    monkeypatch.setattr(gate, "STATES", (1 << 20, 5.0))
    monkeypatch.setattr(
        "rwkv_music_app.studio.usual_run",
        lambda *told, **how: replace(usual_run(*told, **how), max_tokens=12, bars=None),
    )
    app = FastAPI()
    add_refusals(app)
    app.mount("/api", make_api(Studio(tmp_path / "pieces", models)))
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", Gate(app, local=False))


SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
# A wish may be of the right shape and still make no music.
LEFT_OUT = [positive_data_acceptance]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_one_that_is_described(description, mode):
    operations = [found.ok() for found in description.get_all_operations()]
    assert len(operations) > 12
    begin = next(one for one in operations if (one.method, one.path) == ("post", "/v1/pieces"))
    for operation in operations:
        piece = begin.Case(body={"abc": TUNE}, media_type="application/json").call(headers=KEY).json()["piece"]

        @hypothesis.settings(
            max_examples=8, derandomize=True, deadline=None, database=None,
            suppress_health_check=SLOW,
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode), own=strategies.sampled_from([piece, ""]))
        def answers(case, own):
            if own and mode == GenerationMode.POSITIVE and "piece" in case.path_parameters:
                case.path_parameters["piece"] = own
            case.call_and_validate(headers=KEY, excluded_checks=LEFT_OUT)

        # A route that takes nothing cannot be asked for anything wrong.
        with contextlib.suppress(Unsatisfiable):
            answers()
