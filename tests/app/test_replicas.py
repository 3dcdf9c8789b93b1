"""Two replicas on a local Ray cluster: what they make is what one process makes, also when one of them is lost."""

import argparse
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from rwkv_music.errors import UsageError, UserError
from rwkv_music_app import replicas, serve_command
from rwkv_music_app.client import Client, Told
from rwkv_music_app.replicas import Scale
from rwkv_music_app.serve_options import add_arguments
from rwkv_music_app.service import Service

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\n|:GAB c2d|ecA GED|"
STREAMS = 6
needs_processes = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="which replica to kill is read from /proc, which Linux alone has"
)


@dataclass
class Cluster:
    """What `rwkv-music serve --ray --replicas 2` has started."""

    address: str
    process: subprocess.Popen

    @property
    def replicas(self) -> list[int]:
        """The processes of its replicas."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "cmdline").read_bytes().startswith(b"ray::ServeReplica:rwkv-music"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return [pid for pid in found if self.process.pid in _ancestors(pid)]


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two replicas, from the command line; it ends well on Ctrl-C."""
    words = ["serve", "--ray", "--replicas", "2", "--port", "0", "--rows", "16", "--threads", "1"]
    command = [sys.executable, "-m", "rwkv_music", *words, "--store", str(tmp_path_factory.mktemp("pieces"))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            told = process.stderr.readline()
            found = re.match(r"the API answers at (http://127\.0\.0\.1:\d+)/api/v1", told)
            assert found, told
            yield Cluster(found[1], process)
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        assert process.wait(60) == 0 and rest == ""


class Counted(httpx2.HTTPTransport):
    """The way to a server, and how often it was gone."""

    requests = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        return super().handle_request(request)

    def close(self) -> None:
        """Nothing: several clients use it."""


def music(events: list[Told]) -> list[tuple[str, dict]]:
    """Take by take: which of two that grow at once is told of first is up to the moment."""
    told = [(event.kind, event.data) for event in events if event.kind not in ("begun", "end")]
    return sorted(told, key=lambda event: (event[1]["take"], event[1]["number"]))


@pytest.fixture
def alone(programs, studio):
    """`alone()`: a client of a server of one process."""

    def client() -> Client:
        program = programs(studio)()
        return Client("http://127.0.0.1:7860", program.headers["x-rwkv-music-owner"], transport=program._transport)

    return client


@needs_processes
def test_streams_outlive_their_replica(cluster, alone):
    wishes = [{"bars": 24, "seed": seed, "takes": 1 + seed % 2} for seed in range(STREAMS)]
    heard: list[list[Told]] = [[] for _ in wishes]
    flowing = threading.Barrier(STREAMS + 1)
    counted = Counted()

    def listen_to(place: int) -> None:
        with Client(cluster.address, transport=counted) as client:
            for event in client.generate({"abc": TUNE}, **wishes[place]):
                heard[place].append(event)
                if len(heard[place]) == 4:
                    flowing.wait(60)

    with ThreadPoolExecutor(STREAMS) as pool:
        done = [pool.submit(listen_to, place) for place in range(STREAMS)]
        flowing.wait(60)
        os.kill(cluster.replicas[0], signal.SIGKILL)
        assert not all(one.done() for one in done)
        for one in done:
            one.result(120)
    assert counted.requests > STREAMS
    with alone() as client:
        for wish, events in zip(wishes, heard, strict=True):
            assert events[-1].kind == "end"
            assert music(events) == music(list(client.generate({"abc": TUNE}, **wish)))


@needs_processes
def test_any_replica_goes_on_with_a_piece(cluster, alone):
    until = time.monotonic() + 60
    while len(cluster.replicas) < 2 and time.monotonic() < until:
        time.sleep(0.2)

    def grown(client: Client) -> tuple[list, list]:
        piece = client.begin(abc=TUNE)["piece"]
        events = [music(list(client.go_on(piece, bars=1, seed=seed))) for seed in range(8)]
        return events, client.look(piece)["takes"]

    with Client(cluster.address) as here, alone() as there:
        assert grown(here) == grown(there)


@needs_processes
def test_the_gate_stands_before_replicas_too(cluster):
    with Client(cluster.address, secrets.token_hex(32), tries=0) as client, Client(cluster.address, tries=0) as other:
        piece = client.begin(abc=TUNE)["piece"]
        with pytest.raises(UserError, match="no such piece"):
            other.look(piece)
        answer = client._http.get("models", headers={"host": "elsewhere.example"})
        assert answer.status_code == 403 and answer.headers["x-frame-options"] == "DENY"
        assert client._http.post("pieces", content=b" " * (7 << 20)).status_code == 413


@pytest.mark.parametrize(
    "words, scale",
    [
        ("", None),
        ("--ray", Scale(1, 1)),
        ("--ray --replicas 3", Scale(3, 3)),
        ("--ray --max-replicas 4", Scale(1, 4)),
        ("--ray --min-replicas 0 --address auto", Scale(0, 1, "auto")),
        ("--replicas 2", UsageError),
        ("--ray --replicas 2 --max-replicas 3", UsageError),
        ("--ray --min-replicas 3 --max-replicas 2", UsageError),
    ],
)
def test_options_say_how_many(words, scale):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(words.split())
    if scale is UsageError:
        with pytest.raises(UsageError):
            serve_command._scale(args)
    else:
        assert serve_command._scale(args) == scale


def test_without_ray_it_is_said_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "none")
    with pytest.raises(UserError, match=r"pip install 'rwkv-music\[ray\]'"):
        replicas.serve_replicas(Service(tmp_path), Scale(), "127.0.0.1", 0, lambda: None)
