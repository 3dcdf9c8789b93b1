"""The whole server on a socket: streams that are left, programs that call tools by name, assistants over MCP."""

import asyncio
import threading
import time
from collections.abc import Iterator

import httpx
import mcp
import pytest
import uvicorn
from mcp.client.streamable_http import streamable_http_client

from rwkv_music_app.server import Openness, make_server
from rwkv_music_app.studio import Studio

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\nGAB c2d|ecA GED|"
KEY = {"x-rwkv-music-owner": "0123456789abcdef" * 4}


@pytest.fixture(scope="module")
def address(models, tmp_path_factory) -> Iterator[str]:
    """Where a server answers."""
    studio = Studio(tmp_path_factory.mktemp("pieces"), models)
    config = uvicorn.Config(
        make_server(studio, None, Openness(mcp=True)), port=0, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 120
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def free(models) -> bool:
    """Nothing grows within seconds."""
    until = time.monotonic() + 20
    while models.batcher("abc-folk").rows != (0, 0) and time.monotonic() < until:
        time.sleep(0.01)
    return models.batcher("abc-folk").rows == (0, 0)


@pytest.mark.parametrize("stream", [True, False])
def test_whoever_goes_away_frees_the_rows(address, models, stream):
    wish = {"piece": {"abc": TUNE}, "takes": {"bars": 256, "takes": 4}}
    made = models.batcher("abc-folk").tokens
    with httpx.Client(base_url=f"{address}/api/v1", headers=KEY, timeout=120 if stream else 0.5) as client:
        if stream:
            with client.stream("POST", "/generate", json=wish) as answer:
                assert any("event: token" in line for line in answer.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/generate?stream=false", json=wish)
    assert free(models)
    assert models.batcher("abc-folk").tokens > made


def test_a_stream_that_was_left_is_told_whole_when_asked_again(address, models):
    piece = httpx.post(f"{address}/api/v1/pieces", json={"abc": TUNE}, headers=KEY, timeout=120).json()["piece"]
    url, headers = f"{address}/api/v1/pieces/{piece}/takes", {**KEY, "idempotency-key": "k"}
    wish = {"bars": 12, "seed": 4}
    first: list[str] = []
    with httpx.Client(timeout=120) as client, client.stream("POST", url, json=wish, headers=headers) as answer:
        for line in answer.iter_lines():
            first.append(line)
            if line == "id: 10":
                break
    rest = httpx.post(url, json=wish, headers={**headers, "last-event-id": "9"}, timeout=120).text
    whole = httpx.post(url, json=wish, headers=headers, timeout=120).text
    assert whole.startswith("\n".join(first))
    assert rest.split("\n\n")[1:] == whole[whole.index("id: 10\n") :].split("\n\n")
    assert free(models)


def test_two_who_ask_for_the_same_hear_the_same_and_either_may_go(address, models):
    piece = httpx.post(f"{address}/api/v1/pieces", json={"abc": TUNE}, headers=KEY, timeout=120).json()["piece"]
    url, headers = f"{address}/api/v1/pieces/{piece}/takes", {**KEY, "idempotency-key": "k"}
    wish = {"bars": 64, "seed": 4}
    made = models.batcher("abc-folk").tokens
    with httpx.Client(timeout=120) as client, client.stream("POST", url, json=wish, headers=headers) as first:
        # The iterator is held, as it takes the connection with it.
        heard = first.iter_lines()
        assert "id: 3" in [next(heard) for _ in range(12)]
        with client.stream("POST", url, json=wish, headers=headers) as second:
            lines = second.iter_lines()
            head = [next(lines) for _ in range(12)]
            first.close()
            rest = list(lines)
    told = "\n".join([*head, *rest])
    assert "event: end" in told and '"stopped":false' in told
    assert models.batcher("abc-folk").tokens - made == told.count("event: token")


def test_tools_are_called_by_name(address):
    from gradio_client import Client

    client = Client(address, verbose=False)
    named = client.view_api(return_format="dict", print_info=False)
    assert isinstance(named, dict) and set(named["named_endpoints"]) == {"/compose", "/continue_tune", "/check_tune"}
    assert named["unnamed_endpoints"] == {}
    made = client.predict(kind="jig", key="D", bars=4, seed=7, api_name="/compose")
    assert made.startswith("X:1") and "K:D" in made
    assert made == client.predict(kind="jig", key="D", bars=4, seed=7, api_name="/compose")
    longer = client.predict(abc=TUNE, bars=2, seed=1, api_name="/continue_tune")
    assert "GAB c2d" in longer and len(longer) > len(TUNE)
    assert client.predict(abc=longer, api_name="/check_tune") == "ok"
    assert "holds 7/8" in client.predict(abc=TUNE.replace("GAB c2d", "GAB c2d e"), api_name="/check_tune")


def test_what_is_wrong_with_a_tool_is_told(address):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match="bars"):
        Client(address, verbose=False).predict(kind="jig", key="D", bars=1000, api_name="/compose")


def test_assistants_find_the_tools_and_nothing_else(address):
    async def ask() -> tuple[dict, str]:
        async with (
            streamable_http_client(f"{address}/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            made = await session.call_tool("continue_tune", {"abc": TUNE, "bars": 2, "seed": 1})
            return tools, made.content[0].text  # type: ignore[union-attr]

    tools, made = asyncio.run(ask())
    assert set(tools) == {"compose", "continue_tune", "check_tune"}
    assert "abc" in tools["continue_tune"].inputSchema["properties"]
    assert "GAB c2d" in made
