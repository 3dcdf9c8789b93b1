"""What is taken home over the API, and what is brought back."""

import json

import pytest

from rwkv_music.sealed import seal
from rwkv_music.session_file import FORMAT
from rwkv_music_app.arriving import MOST_TAKES

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\n|:GAB c2d|ecA GED|"


@pytest.fixture
def program(studio, programs):
    """`program()`: a program with a key of its own."""
    return programs(studio)


@pytest.fixture
def client(program):
    return program()


@pytest.fixture
def piece(client) -> str:
    """A piece with one take of two bars."""
    name = client.post("pieces", json={"abc": TUNE}).json()["piece"]
    client.post(f"pieces/{name}/takes?stream=false", json={"bars": 2, "seed": 1})
    return name


@pytest.mark.parametrize(
    ("form", "beginning"),
    [("abc", b"X:1"), ("mid", b"MThd"), ("musicxml", b"<?xml"), ("svg", b"<svg"), ("pdf", b"%PDF"), ("wav", b"RIFF")],
)
def test_takes_are_files(client, piece, form, beginning):
    answer = client.get(f"pieces/{piece}/takes/1.{form}")
    assert answer.status_code == 200 and answer.content.lstrip().startswith(beginning)
    assert "attachment" in answer.headers["content-disposition"]


def test_takes_and_forms_that_are_not_there(client, piece):
    assert client.get(f"pieces/{piece}/takes/9.abc").status_code == 404
    for name in ("1.exe", "x.abc", "-1.abc", "1.abc.py"):
        assert client.get(f"pieces/{piece}/takes/{name}").status_code in (404, 422)


def test_a_state_that_is_brought_back_goes_on_token_for_token(client, program, piece):
    content = client.get(f"pieces/{piece}/state").content
    other = program()
    answer = other.post("states", content=content)
    assert answer.status_code == 201 and answer.json()["piece"] != piece
    brought = answer.json()["piece"]
    wish = {"take": 1, "bars": 3, "seed": 9}
    here, there = (
        one.post(f"pieces/{name}/takes", json=wish).text.split("\n\n", 1)[1].rsplit("event: end", 1)[0]
        for one, name in ((client, piece), (other, brought))
    )
    assert here == there and "event: token" in here


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 8 + b"{}", b"PK\x03\x04", b"\x80\x04]."])
def test_what_is_no_state_is_refused(client, content):
    answer = client.post("states", content=content)
    assert answer.status_code == 422 and "/" not in answer.json()["error"]
    assert client.get("pieces").json() == []


def test_states_that_cost_too_much_are_refused(client, piece):
    label = {"model": "abc-folk", "takes": [{"after": 0}] * (MOST_TAKES + 1)}
    answer = client.post("states", content=seal(FORMAT, label, {}))
    assert answer.status_code == 422 and "takes" in answer.json()["error"]
    label = {"model": "/etc/passwd.pth", "takes": []}
    assert client.post("states", content=seal(FORMAT, label, {})).status_code == 422


def test_states_that_lie_are_refused(client, studio, piece):
    content = client.get(f"pieces/{piece}/state").content
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    label = json.loads(header["__metadata__"]["label"])
    lies = (
        {"takes": "all"}, {"takes": [1]}, {"takes": [{}]}, {"model": ["x"]}, {"model": "other"},
        {"model": "abc-folk+../../etc/passwd"}, {"model": "abc-folk+nothing"}, {"model": "/x/abc-folk.pth+:"}, {"manuscript": None},
        {"manuscript": {}}, {"current": 99}, {"current": "x"}, {"tokenizer": "notes"}, {"model_hash": "0"},
    )  # fmt: skip
    for lie in lies:
        forged = {**header, "__metadata__": {**header["__metadata__"], "label": json.dumps({**label, **lie})}}
        text = json.dumps(forged).encode()
        answer = client.post("states", content=len(text).to_bytes(8, "little") + text + content[8 + size :])
        assert answer.status_code == 422, lie
    for take in (
        {"after": -1},
        {"parent": 5},
        {"moments": [[1, 2]]},
        {"stretches": [{}]},
        {"draws": "x"},
        {"first": 3},
    ):
        takes = [label["takes"][0], {**label["takes"][1], **take}]
        from rwkv_music.sealed import header_of, unseal

        tensors = unseal(studio.store.folder, content, header_of(studio.store.folder, content, FORMAT, ""))
        assert client.post("states", content=seal(FORMAT, {**label, "takes": takes}, tensors)).status_code == 422, take


def test_a_link_opens_one_take_until_it_is_taken_back(client, program, studio, piece):
    told = client.post(f"pieces/{piece}/takes/1/share").json()
    assert told == client.post(f"pieces/{piece}/takes/1/share").json() and len(told["token"]) == 32
    assert studio.shared(told["token"], "abc") == client.get(f"pieces/{piece}/takes/1.abc").content
    assert program().delete(f"pieces/{piece}/takes/1/share").status_code == 404
    assert client.delete(f"pieces/{piece}/takes/1/share").status_code == 204
    for token in (told["token"], "0" * 32, "../../etc/passwd", ""):
        with pytest.raises(ValueError, match="leads nowhere"):
            studio.shared(token, "abc")
    other = client.post(f"pieces/{piece}/takes/1/share").json()
    assert other != told
    assert client.delete(f"pieces/{piece}").status_code == 204
    with pytest.raises(ValueError, match="no such piece"):
        studio.shared(other["token"], "abc")
    studio.clean()
    assert not list(studio.store.folder.glob("links/*"))


def test_a_link_outlives_a_restart(client, studio, models, piece):
    from rwkv_music_app.studio import Studio

    token = client.post(f"pieces/{piece}/takes/1/share").json()["token"]
    assert Studio(studio.store.folder, models).shared(token, "mid").startswith(b"MThd")
    assert token not in "".join(path.name + path.read_text() for path in studio.store.folder.glob("links/*"))


def test_a_piece_that_was_let_go_of_is_not_written_again(client, studio, piece):
    owner = client.headers["x-rwkv-music-owner"]
    sitting = studio.store.get(owner, piece)
    assert client.delete(f"pieces/{piece}").status_code == 204
    studio.store.keep(sitting)
    assert client.get(f"pieces/{piece}").status_code == 404 and studio.store.on_disk == 0


def test_a_state_in_a_style_comes_back_in_it(client):
    name = client.post("pieces", json={"style": "mazurka", "key": "D"}).json()["piece"]
    client.post(f"pieces/{name}/takes?stream=false", json={"bars": 1, "seed": 1})
    answer = client.post("states", content=client.get(f"pieces/{name}/state").content)
    assert answer.status_code == 201 and answer.json()["model"] == "abc-folk+mazurka"
