"""The API: what programs are told is what a session makes, and can be told again from any place."""

import json
import secrets
import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rwkv_music.session import Session
from rwkv_music.usual import usual_options, usual_run, usual_sampling
from rwkv_music_app.gate import owner_in
from rwkv_music_app.studio import Studio
from rwkv_music_app.views import notes_of
from rwkv_music_app.wants import Begin, GoOn

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\n|:GAB c2d|ecA GED|"


@pytest.fixture
def program(studio, programs):
    """`program()`: a program with a key of its own."""
    return programs(studio)


def events_of(answer) -> list[dict]:
    """Every event of a stream, with its kind and its id."""
    assert answer.status_code == 200, answer.text
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append({"id": lines.get("id", ""), "event": lines["event"], **json.loads(lines["data"])})
    return found


def begun(client, **wish) -> str:
    """The name of a new piece."""
    answer = client.post("pieces", json=wish or {"abc": TUNE})
    assert answer.status_code == 201, answer.text
    return answer.json()["piece"]


def of_kind(events: list[dict], kind: str) -> list[dict]:
    return [event for event in events if event["event"] == kind]


def test_a_stream_is_what_a_session_makes(program, models):
    client = program()
    events = events_of(client.post(f"pieces/{begun(client)}/takes", json={"bars": 6, "seed": 5}))
    engine, begin = models.engine("abc-folk"), Begin(text=TUNE)
    usual = usual_sampling(engine.config, "abc")
    session = Session(engine, begin.manuscript(begin.source(), "abc"), usual_options(usual, {}))
    made = list(session.go_on(usual_run(usual_options(usual, {"seed": 5}), bars=6, limits=GoOn().limits())))
    assert [event["text"] for event in of_kind(events, "token")] == made
    [done] = of_kind(events, "done")
    assert done["abc"] == session.piece.work().abc and done["seed"] == 5 and not done["stopped"]
    assert [event["bar"] for event in of_kind(events, "bar")] == [1, 2, 3, 4, 5, 6]
    assert (events[0]["event"], events[-1]["event"]) == ("begun", "end")


@pytest.mark.parametrize("wish", [{"abc": TUNE}, {"instruments": "violin,cello"}], ids=["abc", "midi"])
def test_notes_add_up_bar_by_bar(program, studio, wish):
    client = program()
    piece = begun(client, **wish)
    events = events_of(client.post(f"pieces/{piece}/takes", json={"bars": 4, "seed": 3}))
    beginning = studio.store.get(client.headers["x-rwkv-music-owner"], piece).session.takes[0].piece
    notes = [list(note) for note in notes_of(beginning.work().performance)[0]] if "abc" in wish else []
    told = [event for event in events if "notes" in event]
    assert len(told) == len(of_kind(events, "bar")) + 1 > 3
    for event in told:
        notes = notes[: event["notes"]["from"]] + event["notes"]["new"]
    take = studio.store.get(client.headers["x-rwkv-music-owner"], piece).session.takes[1]
    assert notes == [list(note) for note in notes_of(take.piece.work().performance)[0]]


def test_every_event_has_the_next_number(program):
    client = program()
    events = events_of(client.post(f"pieces/{begun(client)}/takes", json={"bars": 3, "seed": 5, "takes": 3}))
    count = {1: 0, 2: 0, 3: 0}
    for event in events[1:-1]:
        count[event["take"]] += 1
        assert event["number"] == count[event["take"]]
        assert event["id"] == ".".join(str(number) for number in count.values())
    assert len({event["seed"] for event in of_kind(events, "done")}) == 3


def test_a_lost_stream_goes_on_where_it_was_lost_on_another_server_too(program, programs, studio, models, tmp_path):
    client = program()
    piece = begun(client)
    shutil.copytree(studio.store.folder, tmp_path / "copy")
    headers = {"idempotency-key": "one"}
    wish = {"bars": 4, "takes": 2}
    events = events_of(client.post(f"pieces/{piece}/takes", json=wish, headers=headers))
    elsewhere = programs(Studio(tmp_path / "copy", models))(client.headers["x-rwkv-music-owner"])
    seen = events[len(events) // 2]
    have = dict(zip((1, 2), map(int, seen["id"].split(".")), strict=True))
    rest = [event for event in events[1:-1] if event["number"] > have[event["take"]]]
    for server in (client, elsewhere):
        answer = server.post(f"pieces/{piece}/takes", json=wish, headers={**headers, "last-event-id": seen["id"]})
        again = events_of(answer)[1:-1]
        for take in (1, 2):
            own = [{**event, "id": ""} for event in rest if event["take"] == take]
            assert [{**event, "id": ""} for event in again if event["take"] == take] == own
        assert len(server.get(f"pieces/{piece}").json()["takes"]) == 3


def test_what_was_made_is_told_again_after_a_restart(program, programs, studio, models):
    client = program()
    piece, headers = begun(client), {"idempotency-key": "x"}
    first = client.post(f"pieces/{piece}/takes", json={"bars": 2}, headers=headers).text
    later = programs(Studio(studio.store.folder, models))(client.headers["x-rwkv-music-owner"])
    tokens = models.batcher("abc-folk").tokens
    assert later.post(f"pieces/{piece}/takes", json={"bars": 2}, headers=headers).text == first
    assert models.batcher("abc-folk").tokens == tokens


def test_the_same_key_for_another_wish_is_refused(program):
    client = program()
    piece, headers = begun(client), {"idempotency-key": "x"}
    client.post(f"pieces/{piece}/takes", json={"bars": 1}, headers=headers)
    answer = client.post(f"pieces/{piece}/takes", json={"bars": 2}, headers=headers)
    assert answer.status_code == 422 and "this key" in answer.json()["error"]


def test_the_same_key_for_another_piece_is_refused_also_after_a_restart(program, programs, studio, models):
    client, headers = program(), {"idempotency-key": "x"}
    piece = client.post("pieces", json={"key": "D"}, headers=headers).json()["piece"]
    later = programs(Studio(studio.store.folder, models))(client.headers["x-rwkv-music-owner"])
    for one in (client, later):
        assert one.post("pieces", json={"key": "D"}, headers=headers).json()["piece"] == piece
        wishes = {"pieces": {"key": "G"}, "generate": {"piece": {"key": "G"}, "takes": {"bars": 1}}}
        for path, wish in wishes.items():
            answer = one.post(path, json=wish, headers=headers)
            assert answer.status_code == 422 and "this key" in answer.json()["error"]


def test_takes_that_were_stopped_are_made_again_in_their_place(program, studio, models):
    client = program()
    piece, owner = begun(client), client.headers["x-rwkv-music-owner"]
    whole = client.post(f"pieces/{begun(client)}/takes", json={"bars": 3}, headers={"idempotency-key": "x"}).text
    from rwkv_music_app.api.wishes import TakesWish

    growth = studio.ask(owner, piece, TakesWish(bars=3).wish("x"))  # type: ignore[call-arg]
    growth.job.cancelled.set()
    again = client.post(f"pieces/{piece}/takes", json={"bars": 3}, headers={"idempotency-key": "x"}).text
    assert events_of_text(again) == events_of_text(whole)
    assert len(client.get(f"pieces/{piece}").json()["takes"]) == 2


def events_of_text(text: str) -> list[str]:
    """A stream without what tells of its piece."""
    return [block for block in text.split("\n\n") if block.startswith("id: ")]


def test_a_wish_without_streaming_is_answered_once(program):
    client = program()
    piece = begun(client)
    answer = client.post(f"pieces/{piece}/takes?stream=false", json={"bars": 2, "seed": 1, "takes": 2}).json()
    assert answer["piece"] == piece and not answer["errors"]
    assert [take["take"] for take in answer["takes"]] == [1, 2]
    assert answer["takes"][0]["abc"] in client.get(f"pieces/{piece}/takes/1.abc").text


def test_going_on_from_a_bar_and_another_way(program):
    client = program()
    piece = begun(client)
    for wish in (
        {"bars": 4, "seed": 1},
        {"take": 1, "bar": 2, "bars": 1, "seed": 2},
        {"instead_of": 2, "bars": 1, "seed": 3},
    ):
        assert client.post(f"pieces/{piece}/takes?stream=false", json=wish).status_code == 200
    takes = client.get(f"pieces/{piece}").json()["takes"]
    assert [(take["parent"], take["from"]) for take in takes[1:]] == [(0, 0), (1, 2), (1, 2)]


def test_bar_lines_are_told_by_the_number_from_which_one_goes_on(program, studio):
    client = program()
    piece = begun(client)
    client.post(f"pieces/{piece}/takes?stream=false", json={"bars": 4, "seed": 1})
    events = events_of(client.post(f"pieces/{piece}/takes", json={"take": 1, "bar": 2, "bars": 3, "seed": 2}))
    assert [event["bar"] for event in of_kind(events, "bar")] == [3, 4, 5]
    events = events_of(client.post(f"pieces/{piece}/takes", json={"take": 2, "bar": 4, "bars": 1, "seed": 3}))
    session = studio.store.get(client.headers["x-rwkv-music-owner"], piece).session
    session.go_to(2)
    assert session.takes[3].after == session.bars()[4]


def test_one_request_begins_and_goes_on_once_for_a_key(program):
    client = program()
    wish = {"piece": {"rhythm": "jig", "key": "D"}, "takes": {"bars": 2}}
    first, again = (client.post("generate", json=wish, headers={"idempotency-key": "k"}) for _ in range(2))
    assert first.text == again.text and of_kind(events_of(first), "done")[0]["abc"]
    assert len(client.get("pieces").json()) == 1
    assert events_of(program().post("generate", json=wish, headers={"idempotency-key": "k"}))[0] != events_of(first)[0]


def test_the_same_place_needs_the_same_music(program):
    client = program()
    piece = begun(client)
    for headers in (
        {"last-event-id": "3"},
        {"last-event-id": "3.1", "idempotency-key": "a"},
        {"last-event-id": "x", "idempotency-key": "a"},
    ):
        assert client.post(f"pieces/{piece}/takes", json={"bars": 1}, headers=headers).status_code == 422
    assert len(client.get(f"pieces/{piece}").json()["takes"]) == 1


def test_a_piece_that_grows_is_busy_and_can_be_stopped(program, studio, models):
    client = program()
    piece, owner = begun(client), client.headers["x-rwkv-music-owner"]
    growth = studio.go_on(owner, piece, GoOn(bars=256))
    assert growth.job.events.get(timeout=10)
    assert client.post(f"pieces/{piece}/takes", json={}).status_code == 409
    assert client.delete(f"pieces/{piece}").status_code == 409
    told = client.post(f"pieces/{piece}/cancel").json()
    assert told["growing"] == [] and told["takes"][1]["bars"] >= 0
    assert models.batcher("abc-folk").rows == (0, 0)
    assert client.delete(f"pieces/{piece}").status_code == 204
    assert client.get(f"pieces/{piece}").status_code == 404


def test_too_many_people_are_told_to_come_back(program, monkeypatch):
    client = program()
    piece = begun(client)
    monkeypatch.setattr("rwkv_music_app.batcher.MOST_WAITING", 0)
    answer = client.post(f"pieces/{piece}/takes", json={"bars": 1, "seed": 1})
    assert answer.status_code == 503 and set(answer.json()) == {"error"} and int(answer.headers["retry-after"]) > 0
    monkeypatch.undo()
    assert len(client.get(f"pieces/{piece}").json()["takes"]) == 1
    assert of_kind(events_of(client.post(f"pieces/{piece}/takes", json={"bars": 1, "seed": 1})), "done")


def test_one_person_does_not_take_everything(program, studio):
    client = program()
    owner = client.headers["x-rwkv-music-owner"]
    growths = [studio.go_on(owner, begun(client), GoOn(bars=None, takes=8)) for _ in range(2)]
    answer = client.post("generate", json={"takes": {"bars": 1}})
    assert answer.status_code == 429 and "many pieces" in answer.json()["error"]
    for growth in growths:
        client.post(f"pieces/{growth.sitting.name}/cancel")


def test_nobody_reaches_the_pieces_of_others(program):
    client, other = program(), program()
    piece = begun(client)
    ways = [
        ("get", ""), ("delete", ""), ("post", "/cancel"), ("post", "/takes"), ("get", "/state"),
        ("get", "/takes/0.abc"), ("post", "/takes/0/share"), ("delete", "/takes/0/share"),
    ]  # fmt: skip
    for method, path in ways:
        foreign, none = (getattr(other, method)(f"pieces/{name}{path}") for name in (piece, "0" * 32))
        assert (foreign.status_code, foreign.json()) == (none.status_code, none.json()), path
        assert foreign.status_code == 404 and "no such piece" in foreign.json()["error"]
    assert other.get("pieces").json() == [] and len(client.get("pieces").json()) == 1


def test_without_a_gate_nobody_is_anybody(studio):
    from fastapi.testclient import TestClient

    from rwkv_music_app.api.application import make_api

    bare = TestClient(make_api(studio))
    assert bare.get("/v1/health").status_code == 200
    for method, path in (
        ("get", "/v1/pieces"),
        ("post", "/v1/pieces"),
        ("post", "/v1/generate"),
        ("post", "/v1/states"),
    ):
        assert bare.request(method, path, json={} if method == "post" else None).status_code == 401


def test_a_bearer_is_the_same_as_a_key_and_neither_gets_a_cookie(program):
    client = program()
    piece, key = begun(client), client.headers["x-rwkv-music-owner"]
    other = program()
    del other.headers["x-rwkv-music-owner"]
    answer = other.get(f"pieces/{piece}", headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200 and "set-cookie" not in answer.headers
    assert other.get(f"pieces/{piece}", headers={"cookie": f"rwkv_music={key}"}).status_code == 200
    answer = other.get("health")
    assert owner_in(answer.headers["set-cookie"].split(";")[0])


@pytest.mark.parametrize("key", ["0" * 64, "01" * 32, "abc", secrets.token_hex(16), "A" * 64, "../../etc/passwd"])
def test_a_key_that_could_be_guessed_is_none(program, key):
    client = program()
    for headers in ({"x-rwkv-music-owner": key}, {"authorization": f"Bearer {key}", "x-rwkv-music-owner": ""}):
        answer = client.get("pieces", headers=headers)
        assert answer.status_code == 401 and "64 random digits" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", "nothing", None, 404),
        ("put", "pieces", None, 405),
        ("post", "pieces", {"key": "H#"}, 422),
        ("post", "pieces", {"file": "???", "name": "a.mid"}, 422),
        ("post", "pieces", {"model": "../../etc/passwd"}, 422),
        ("post", "pieces", {"titel": "x"}, 422),
        ("post", "pieces", {"title": "x" * 201}, 422),
        ("post", "generate", {"takes": {"bars": 257}}, 422),
        ("post", "generate", {"takes": {"takes": 9}}, 422),
        ("post", "generate", {"takes": {"compass": "low"}}, 422),
    ],
)
def test_what_is_wrong_is_told_in_one_line(program, method, path, body, status):
    client = program()
    answer = client.request(method, path, json=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"} and "\n" not in answer.json()["error"]
    assert "passwd" not in answer.text


def test_numbers_for_whoever_runs_it(programs, studio):
    client = programs(studio)()
    events_of(client.post(f"pieces/{begun(client)}/takes", json={"bars": 2, "seed": 1}))
    families = {family.name: family for family in text_string_to_metric_families(client.get("metrics").text)}
    assert families["rwkv_music_tokens"].samples[0].value > 0
    assert {sample.labels["state"] for sample in families["rwkv_music_rows"].samples} == {"growing", "waiting"}
    places = {sample.labels["place"]: sample.value for sample in families["rwkv_music_sessions"].samples}
    assert places == {"memory": 1, "disk": 1}
    counts = {s.name: s.value for s in families["rwkv_music_first_note_seconds"].samples if "le" not in s.labels}
    assert counts["rwkv_music_first_note_seconds_count"] == 1
